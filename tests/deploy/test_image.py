"""The image's recipe, without a container engine."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from guerdon_service.app.load_settings import load_settings
from tests.deploy.clean_install import clean_install

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docs" / "compose.yaml").read_text())


def test_hadolint_finds_nothing() -> None:
    found = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_is_pinned_and_runs_as_nobody_of_importance() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (image,) = [line for line in lines if line.startswith("ARG PYTHON_IMAGE=")]
    assert len(image.partition("@sha256:")[2]) == 64
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert bases <= {"${PYTHON_IMAGE}", "source", "runtime"}
    assert "USER 10001:10001" in lines


def test_the_service_takes_the_variables_that_image_and_compose_file_set() -> None:
    compose = COMPOSE["services"]["guerdon"]["environment"]
    settings = load_settings({}, {**compose, "GUERDON_HOST": "0.0.0.0"}, None)
    assert (settings.host, settings.redis_url) == ("0.0.0.0", compose["GUERDON_REDIS_URL"])


def test_compose_waits_as_long_as_the_drain() -> None:
    service = COMPOSE["services"]["guerdon"]
    assert int(service["stop_grace_period"].removesuffix("s")) > load_settings({}, {}, None).drain_timeout_s
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]


def test_the_dockerfile_copies_all_that_it_installs(tmp_path: Path) -> None:
    """The wheel made from nothing but what the image copies is the whole service, its data included."""
    guerdon = clean_install(tmp_path)
    run = subprocess.run(
        [guerdon, "migrate"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "no state URL is given: nothing to do\n"
