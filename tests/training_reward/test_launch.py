"""``accelerate launch`` on two processes trains what one process trains: the same step, shared."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import DistributedType
from accelerate.state import AcceleratorState

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_training.artifact import digest_of
from guerdon_training.cli import train_command
from guerdon_training.config import BaseConfig
from guerdon_training.distributed import begin_processes, check_distributed
from guerdon_training.model import base_folder
from tests.training_policy.conftest import tiny_lm
from tests.training_policy.launch import DDP, FSDP, check_same, go_on_alone, launch, read_log
from tests.training_policy.launched import RECIPES
from tests.training_policy.runs import prepare_dpo, prepare_sft, two_epochs
from tests.training_policy.tiny_lm import demonstrations, write_jsonl
from tests.training_reward.lm_runs import prepare as prepare_reward_lm
from tests.training_reward.runs import config, write_pairs

__all__ = ["tiny_lm"]
pytestmark = pytest.mark.timeout(900)  # eighteen runs, most of the time starting
WEIGHTS = {
    "sft": "model.safetensors",
    "full": "model.safetensors",
    "dpo": "model.safetensors",
    "reward": "adapter/adapter_model.safetensors",
    "reward-lm": "model.safetensors",
}
LAUNCHES = {
    "together": (DDP, ("sft", "dpo", "reward", "reward-lm")),
    "sharded": (FSDP, ("full", "dpo", "reward", "reward-lm")),
}
"""Options and runs, by the output of those runs."""


@pytest.fixture(scope="module")
def folder(tiny_lm: Path, tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every run's ``artifact`` of one process, and those of two: ``together``, and ``sharded``."""
    root = tmp_path_factory.mktemp("launch")
    for run in WEIGHTS:
        (root / run).mkdir()
    two_epochs(prepare_sft(root / "sft", tiny_lm))
    prepare_sft(root / "full", tiny_lm, tables="")
    other = [record | {"response": "I am sorry, but I cannot help"} for record in demonstrations(10, 1)]
    write_jsonl(root / "full" / "valid.jsonl", other)  # worse from epoch to epoch
    two_epochs(prepare_dpo(root / "dpo", tiny_lm))
    prepare_reward_lm(root / "reward-lm", tiny_lm, tables="")
    write_pairs(root / "reward")
    values = config(tiny_base, objective={"kind": "davidson"})  # its scalars are sharded nowhere
    values["heads"].append(values["heads"][0] | {"name": "again"})
    # several micro-batches to a step, an odd number among them
    values["optim"] |= {"epochs": 2, "max_batch_tokens": 80}
    (root / "reward" / "config.yaml").write_text(yaml.safe_dump(values), "utf-8")
    for run in WEIGHTS:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root / run)
            assert train_command([RECIPES.get(run, run), "config.yaml"]) == 0
    for output, (options, runs) in LAUNCHES.items():
        launch(root, options, {output: runs})
    yield root


def _metrics(artifact: Path) -> dict[str, Any]:
    return dict(json.loads((artifact / "manifest.json").read_text("utf-8"))["metrics"])


@pytest.mark.parametrize(("output", "run"), [(o, run) for o, (_, runs) in LAUNCHES.items() for run in runs])
def test_two_processes_end_in_the_weights_of_one(folder: Path, output: str, run: str) -> None:
    check_same(folder / run / "artifact", folder / run / output, WEIGHTS[run])


def test_the_measured_policy_is_the_kept_one(folder: Path) -> None:
    for output, run in (("together", "dpo"), ("sharded", "dpo"), ("sharded", "full")):
        one, two = (_metrics(folder / run / f) for f in ("artifact", output))
        assert one["epoch"] == two["epoch"]
        for split in ("valid", "test"):
            assert one[split] == pytest.approx(two[split], rel=1e-2, abs=1e-3), (output, run)
    log = read_log(folder / "full/artifact")
    assert one["epoch"] < log[-1]["epoch"], "only weights that come back show whether old ones were forgotten"


@pytest.mark.parametrize(
    ("kind", "version", "remedy"),
    [
        (DistributedType.MEGATRON_LM, 2, "no recipe is tested with; launch with --use_fsdp --fsdp_version 2"),
        (DistributedType.FSDP, 1, "launch with --fsdp_version 2"),
    ],
)
def test_what_would_be_wrong_is_refused(kind: DistributedType, version: int, remedy: str) -> None:
    check_distributed(DistributedType.MULTI_CPU, 2)
    check_distributed(DistributedType.FSDP, 2)
    with pytest.raises(InvalidInput, match=remedy):
        check_distributed(kind, version)


def test_a_recipe_is_not_held_to_the_choices_of_the_one_before_it() -> None:
    assert begin_processes(mixed_precision="bf16").mixed_precision == "bf16"
    AcceleratorState().device = torch.device("cuda")  # what a stage on a GPU leaves behind
    accelerator = begin_processes(cpu=True, mixed_precision="no")
    assert (accelerator.mixed_precision, accelerator.device.type) == ("no", "cpu")


def test_what_processes_begin_sharded_one_alone_ends(folder: Path, tmp_path: Path) -> None:
    run = folder / "reward-lm"
    ended = go_on_alone(run, "sharded", ["reward-lm", "config.yaml"], tmp_path / "copy")
    check_same(run / "artifact", ended)


@pytest.mark.parametrize("output", LAUNCHES)
def test_one_process_wrote_the_reward_models_and_they_are_served(
    folder: Path, tiny_base: BaseConfig, output: str
) -> None:
    together, other = (folder / run / output for run in ("reward", "reward-lm"))
    loaded, lm = (load_model(ModelSpec("tiny", str(artifact))) for artifact in (together, other))
    assert loaded.certificate.passed and lm.certificate.passed
    assert loaded.manifest.digest == digest_of(together, loaded.manifest, base_folder(tiny_base))
    assert lm.manifest.metrics["politeness"]["test"]["pooled"]["accuracy"]["value"] == 0.8
    loaded.backend.close()
    lm.backend.close()
