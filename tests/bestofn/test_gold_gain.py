"""The experiment of docs/evaluation.md, on models that are built here."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.app.bench.gold_gain import main, read_prompts
from guerdon_service.core.errors import InvalidInput
from tests.policies.tiny_policy import build_policy
from tests.tiny import build_tiny


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("gain")
    # Tiny models have other tokenizers each time: of a dozen prompts one has a better answer than its first.
    texts = [*(f"why {i}?" for i in range(12)), "x" * 400]
    lines = [json.dumps({"prompt": [{"role": "user", "content": text}]}) for text in texts]
    (root / "prompts.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return {
        "--model": str(build_tiny("bert", root / "one", seed=1)),
        "--gold": str(build_tiny("bert", root / "two", seed=2)),
        "--policy": str(build_policy(root / "policy")),
        "--prompts": str(root / "prompts.jsonl.gz"),
    }


def gain(sources: dict[str, str], out: Path, **changes: str) -> Any:
    given = sources | {f"--{name}": value for name, value in changes.items()}
    argv = [part for pair in given.items() for part in pair]
    assert main([*argv, "--dtype", "float32", "--n", "4", "--max-tokens", "6", "--json", str(out)]) == 0
    return json.loads(out.read_text())


def test_the_choice_is_measured_by_a_model_that_did_not_choose(
    sources: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = gain(sources, tmp_path / "gain.json")
    assert (found["n"], found["num_prompts"]) == (4, 12)  # the last is too long
    assert found["chooser"]["value"] >= 0.0
    assert found["gold"]["value"] != found["chooser"]["value"]
    assert f"gold     {found['gold']['value']:+.3f}" in capsys.readouterr().out
    same = gain(sources, tmp_path / "same.json", gold=sources["--model"])
    assert same["gold"] == same["chooser"] == found["chooser"]  # samples and choice do not depend on gold


def test_equal_prompts_are_one_cluster(sources: dict[str, str], tmp_path: Path) -> None:
    """Six seeds of one prompt say nothing of others: no width is left, whatever the six gave."""
    path = tmp_path / "same.jsonl"
    path.write_text((json.dumps({"prompt": [{"role": "user", "content": "hi"}]}) + "\n") * 6)
    found = gain(sources, tmp_path / "gain.json", prompts=str(path))
    assert (found["num_prompts"], found["chooser"]["value"] > 0.0) == (6, True)
    assert found["chooser"]["low"] == pytest.approx(found["chooser"]["high"])


def test_what_is_no_file_of_prompts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": 7}\n')
    with pytest.raises(InvalidInput, match="no file of prompts"):
        read_prompts(path, 300)
