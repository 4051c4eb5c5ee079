"""Keys are never logged, shown or kept; conversations are not logged unless asked for."""

import logging
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.app.logs import JsonFormatter
from guerdon_service.app.settings import PolicySettings, Settings
from guerdon_service.core.auth import Keyring
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, served
from tests.docs.module_list import ROOT

CANARY = "canary-in-the-prompt"


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Every line of every logger, as the service writes it."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter().format(record))

    root, handler = logging.getLogger(), Keep()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


async def test_neither_keys_nor_conversations_reach_the_log_even_at_debug(log: list[str]) -> None:
    async with served(keys=KEYS) as it:
        for key in (SCORER_KEY, ADMIN_KEY, "wrong-key-4711"):
            headers = {"authorization": f"Bearer {key}"}
            for item in (
                {"prompt": CANARY, "response": CANARY},
                {"prompt": CANARY, "response": ""},
                {"prompt": CANARY, "response": "x" * 100},
                {"prompt": CANARY, "wrong": CANARY},
            ):
                await it.rest.post("/v1/score", json={"items": [item]}, headers=headers)
            await it.rest.post("/v1/models", json={"name": "n", "source": "bad"}, headers=headers)
            request = pb.ScoreRequest(items=[pb.ScoreItem(prompt=CANARY, response=CANARY)])
            try:
                await it.stub.Score(request, metadata=(("authorization", f"Bearer {key}"),))
            except grpc.aio.AioRpcError as err:
                assert key not in str(err)
        metrics = await it.rest.get("/metrics", headers={"authorization": f"Bearer {SCORER_KEY}"})
    logging.getLogger("proof").debug("the fixture sees this")
    text = "\n".join(log) + metrics.text
    assert "the fixture sees this" in text
    assert "load_model" in text, "the audit log is there"
    for hidden in (CANARY, SCORER_KEY, ADMIN_KEY, "wrong-key-4711", *(key.sha256 for key in KEYS)):
        assert hidden not in text


def test_secrets_of_the_settings_are_not_shown() -> None:
    settings = Settings(
        redis_url="redis://:hunter2@r/0",
        state_url="postgresql://u:hunter2@p/x",
        policies={"p": PolicySettings(url="http://e/v1", api_key="hunter2")},  # type: ignore[arg-type]
    )
    assert "hunter2" not in f"{settings!r} {settings}"


def test_a_ring_keeps_no_secret_and_compares_all_of_its_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Keyring(KEYS)
    assert SCORER_KEY not in str(vars(ring))
    compared: list[bytes] = []

    def compare(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return secrets.compare_digest(known, given)

    monkeypatch.setattr("guerdon_service.core.auth.hmac.compare_digest", compare)
    assert ring.authenticate(f"Bearer {SCORER_KEY}").tenant == "team"
    assert len(compared) == len(KEYS), "no early end tells where the match was"


def test_the_secret_scan_finds_a_secret_and_passes_an_example(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    line = next(line for line in makefile.splitlines() if line.startswith("NO_SECRETS"))
    disabled = line.rpartition(",")[2].rstrip(")").split()
    (tmp_path / "bad").write_text("key = AKIA" + "Q3EGRX5TZ7YV2PLM\n")
    (tmp_path / "fine").write_text('url = "redis://:password@localhost/0"\nsha = "' + "ab" * 32 + '"\n')
    hook = Path(sys.executable).with_name("detect-secrets-hook")
    options = [option for name in disabled for option in ("--disable-plugin", name)]
    for name, status in (("bad", 1), ("fine", 0)):
        found = subprocess.run([hook, *options, name], cwd=tmp_path, capture_output=True, check=False)
        assert found.returncode == status, found.stdout


def test_ci_runs_the_security_checks() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    made = {word for line in re.findall(r"^make (.*)$", script, re.MULTILINE) for word in line.split()}
    assert {"lint", "security", "demo", "test"} <= made
