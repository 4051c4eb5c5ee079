"""A reward model on a language model, by two processes: copies, parts (FSDP) and DeepSpeed's parts."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from tests.training_policy import test_zero as zero
from tests.training_policy.conftest import tiny_lm
from tests.training_policy.launch import DDP, FSDP, launch
from tests.training_reward.lm_runs import prepare, run

__all__ = ["tiny_lm"]
RUN = "reward-lm"


@pytest.fixture(scope="module")
def alone(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the run of one process, every weight trained."""
    root = tmp_path_factory.mktemp("launch")
    (root / RUN).mkdir()
    prepare(root / RUN, tiny_lm, tables="")
    run(root / RUN)
    return root


@pytest.mark.parametrize("output", ["together", "sharded", "zero_3"])
def test_two_processes_end_in_the_weights_of_one(alone: Path, output: str) -> None:
    if output == "zero_3":
        config = alone / "zero_3.json"
        config.write_text(json.dumps(zero.STAGE_3), "utf-8")
        zero._launch(alone, output, ["--deepspeed_config_file", str(config)], [RUN])
    else:  # interrupted in its second epoch where it is sharded
        launch(alone, {"together": DDP, "sharded": FSDP}[output], output, [RUN])
    one, two = (alone / RUN / name for name in ("artifact", output))
    whole, parts = (load_file(artifact / "model.safetensors") for artifact in (one, two))
    assert whole.keys() == parts.keys()
    for name, weight in whole.items():
        assert float((weight - parts[name]).abs().max()) < 2e-4, name
    for a, b in zip(_log(one), _log(two), strict=True):  # AdamW would not tell twice a gradient
        assert a == pytest.approx(b, rel=1e-2, abs=1e-4)
    loaded = load_model(ModelSpec("lm", str(two)))  # certified
    loaded.backend.close()
    assert loaded.manifest.metrics["politeness"]["test"]["pooled"]["accuracy"]["value"] == 0.8


def _log(artifact: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact / "metrics.jsonl").read_text("utf-8").splitlines()]
