"""What docs/deploy.md says of images and flags is so."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import SINGULAR
from guerdon_service.app.settings import Settings
from tests.deploy.chart import only, rendered

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def image(name: str) -> str:
    """What the chart starts with one of `VALUES`."""
    spec = only(rendered(name), "Deployment")["spec"]["template"]["spec"]
    started: str = spec["containers"][0]["image"]
    return started


def test_the_page_says_which_settings_have_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_flags(["--help"])
    flags = set(re.findall(r"^  --([a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    without = {
        name for name in Settings.model_fields if SINGULAR.get(name, name).replace("_", "-") not in flags
    }
    (told,) = re.findall(r"all but (.*?) have a flag", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", told)) == without


@pytest.mark.parametrize("page", ["docs/deploy.md", "Dockerfile"])
def test_the_images_are_those_that_the_page_builds(page: str) -> None:
    built = re.findall(r"docker build --target (\w+) .*-t (\S+) \.$", (ROOT / page).read_text(), re.MULTILINE)
    assert dict(built) == {"cpu": image("default"), "cuda": image("gpu")}


def test_what_is_built_upon_the_image_is_what_the_extras_and_the_makefile_name() -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"^RUN python -m pip install .*", PAGE, re.MULTILINE)
    (base,) = re.findall(r"^FROM (\S+)", PAGE, re.MULTILINE)
    words = shlex.split(installed)
    assert extras["parquet"][0] in words
    assert words[-1] in makefile.split()
    assert base == image("default")
