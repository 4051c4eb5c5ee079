"""Every block of the pages that is marked python, bash or console runs against one real service.

The service listens on free ports; where a page says 8080 or 8081 of 127.0.0.1, its own stand. The default
policy is a tiny one under its name. Python blocks of a page share their names, as a reader's session does.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from guerdon.cli.demo_preferences import held_out
from guerdon.cli.demo_versions import make_candidate, make_incumbent
from guerdon.cli.service_process import Addresses, running_service
from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from tests.docs.code_blocks import DOCS, RUNNABLE, Block, all_blocks
from tests.docs.module_list import ROOT
from tests.evaluation.data import write
from tests.policies.tiny_policy import build_policy

pytestmark = pytest.mark.timeout(600)
START_S = 400.0
NOT_HERE = {
    "make serve": "starts the service that is running already",
    "make demo": "makes environments; CI runs both targets, and below is that they exist",
    "guerdon serve ": "starts the service that is running already; its flags are parsed below",
    "docker ": "needs a container engine; tests/deploy/test_image.py runs the same steps without one",
    "helm install": "needs a cluster; tests/deploy/test_chart.py renders the same values",
    "guerdon export ": "measures for minutes; tests/app runs what needs no wire, on tiny models",
    "guerdon evaluate-policy ": "needs policies and a judge of yours; tests/contract asks for the same",
    "python - <<'END'\nimport gzip": "trains two models for minutes; tests/training_reward runs the recipe",
    "make pipeline": "trains for an hour; tests/training_pipeline runs it on tiny models",
    "guerdon train implicit ": "needs a policy that DPO trained; tests/training_reward runs the recipe",
    "make faults": "breaks things for minutes; tests/faults and tests/simulation run the same, shorter",
    "make bench-peers": "builds other servers and measures for minutes; tests/bench_peers runs the parts",
    "GUERDON_SEED=": "replays a failure that there must be first; tests/simulation replays one",
}
"""First words of blocks that cannot run here, each with its reason."""
DATA = ("toml", "yaml", "json", "proto", "text")
"""Languages of blocks that nobody runs; text is output, a formula, a sketch or a synopsis."""

BLOCKS = all_blocks()
RUN = [block for block in BLOCKS if block.language in RUNNABLE]


def why_not(block: Block) -> str | None:
    """Why a block cannot run here; None: it can."""
    for words, reason in NOT_HERE.items():
        if block.script.lstrip().startswith(words):
            return reason
    return None


@dataclass(frozen=True)
class Place:
    """Where the blocks run, and the service that they ask."""

    folder: Path
    service: Addresses

    def here(self, script: str) -> str:
        """A page's addresses replaced by this service's."""
        rest, grpc = (url.rsplit("/", 1)[1] for url in (self.service.rest, self.service.grpc))
        return script.replace("127.0.0.1:8080", rest).replace("127.0.0.1:8081", grpc)

    def bash(self, script: str) -> str:
        """Its standard output; any command that fails, fails."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(script)],
            check=False,
            cwd=self.folder,
            env=os.environ | {"PATH": path, "GUERDON_URL": self.service.rest},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "data").mkdir()
    (folder / "models").mkdir()
    make_incumbent(folder / "models" / "v1")
    make_candidate(folder / "models" / "v2", None)
    write(folder / "data" / "heldout.jsonl", held_out()[::6])
    write(folder / "data" / "valid.jsonl", held_out()[1::2])
    policy = build_policy(folder / "policy")
    command = (
        *(sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0"),
        *("--state-url", f"sqlite:///{folder / 'state.db'}", "--data-folder", str(folder / "data")),
        *("--model-store", str(folder / "models"), "--policy", f"smollm2={policy}"),
    )
    with running_service(command, START_S) as service:
        yield Place(folder, service)


@pytest.fixture(scope="module")
def sessions() -> dict[str, dict[str, Any]]:
    """Names that the Python blocks of each page have made."""
    return defaultdict(dict)


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"{block.page}:{block.line}")
def test_a_block_runs(block: Block, place: Place, sessions: dict[str, dict[str, Any]]) -> None:
    if (reason := why_not(block)) is not None:
        sys.stdout.write(f"{block.page}:{block.line} is not run: {reason}\n")
        return
    if block.language == "python":
        code = compile(place.here(block.script), f"{block.page}:{block.line}", "exec")
        exec(code, sessions[block.page])
    else:
        assert place.bash(block.script).strip(), "a block that says nothing shows nothing"


def test_every_block_says_what_it_is_in() -> None:
    assert [f"{b.page}:{b.line}" for b in BLOCKS if b.language not in (*RUNNABLE, *DATA)] == []


@pytest.mark.parametrize(
    "page", ["quickstart.md", "clients.md", "models.md", "best-of-n.md", "deploy.md", "README.md"]
)
def test_a_task_page_has_something_that_runs(page: str) -> None:
    assert any(block.page == page and why_not(block) is None for block in RUN)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "toml"], ids=lambda block: f"{block.page}:{block.line}"
)
def test_settings_are_taken(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "guerdon.toml"
    path.write_text(block.text)
    assert tomllib.loads(block.text)
    assert load_settings({}, {}, path)


def test_data_of_other_kinds_parses() -> None:
    for block in BLOCKS:
        if block.language == "json":
            assert [json.loads(line) for line in block.text.splitlines()]


def test_every_make_target_that_a_page_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md"]
    named = {
        target
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert {"demo", "test", "serve"} <= named <= targets


def test_flags_of_serve_are_parsed() -> None:
    commands = [
        line for block in RUN for line in block.script.splitlines() if line.startswith("guerdon serve ")
    ]
    assert commands
    for command in commands:
        flags, config = parse_flags(shlex.split(command)[2:])
        assert flags or config


def test_every_reason_is_still_needed() -> None:
    used = {reason for block in RUN if (reason := why_not(block)) is not None}
    assert used == set(NOT_HERE.values())
