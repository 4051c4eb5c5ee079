"""``accelerate launch`` on two processes trains what one process trains: the same step, shared."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import DistributedType
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_training.artifact import digest_of
from guerdon_training.cli import train_command
from guerdon_training.config import BaseConfig
from guerdon_training.distributed import begin_processes, check_distributed
from guerdon_training.model import base_folder
from tests.ports import free_port
from tests.training_policy.conftest import tiny_lm
from tests.training_policy.runs import prepare_dpo, prepare_sft
from tests.training_reward.runs import config, write_pairs

__all__ = ["tiny_lm"]
ROOT = Path(__file__).parents[2]
WEIGHTS = {
    "sft": "model.safetensors",
    "dpo": "model.safetensors",
    "reward": "adapter/adapter_model.safetensors",
}


@pytest.fixture(scope="module")
def folder(tiny_lm: Path, tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every recipe's ``artifact`` of one process and ``together`` of two."""
    root = tmp_path_factory.mktemp("launch")
    for recipe in WEIGHTS:
        (root / recipe).mkdir()
    prepare_sft(root / "sft", tiny_lm)
    prepare_dpo(root / "dpo", tiny_lm)
    write_pairs(root / "reward")
    values = config(tiny_base)
    # several micro-batches to a step, an odd number among them
    values["optim"] |= {"epochs": 2, "max_batch_tokens": 80}
    (root / "reward" / "config.yaml").write_text(yaml.safe_dump(values), "utf-8")
    for recipe in WEIGHTS:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root / recipe)
            assert train_command([recipe, "config.yaml"]) == 0
    _launch(root)
    yield root


def _launch(root: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", str(free_port()), "--module", "tests.training_policy.launched"]
    path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
    settings = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    found = subprocess.run(
        [*launch, str(root), *WEIGHTS],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-4000:]


def _log(artifact: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("recipe", WEIGHTS)
def test_two_processes_end_in_the_weights_of_one(folder: Path, recipe: str) -> None:
    alone, together = (load_file(folder / recipe / f / WEIGHTS[recipe]) for f in ("artifact", "together"))
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        assert float((weight - together[name]).abs().max()) < 2e-4, name
    assert not (folder / recipe / "together" / ".run").exists()
    one, two = (_log(folder / recipe / f) for f in ("artifact", "together"))
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):  # Adam would not tell twice the gradient from the gradient
        assert a == pytest.approx(b, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_sharded_weights_are_refused(kind: DistributedType) -> None:
    check_distributed(DistributedType.MULTI_CPU)
    with pytest.raises(InvalidInput, match="which shards weights"):
        check_distributed(kind)


def test_a_recipe_is_not_held_to_the_choices_of_the_one_before_it() -> None:
    assert begin_processes(mixed_precision="bf16").mixed_precision == "bf16"
    AcceleratorState().device = torch.device("cuda")  # what a stage on a GPU leaves behind
    accelerator = begin_processes(cpu=True, mixed_precision="no")
    assert (accelerator.mixed_precision, accelerator.device.type) == ("no", "cpu")


def test_one_process_wrote_the_reward_model_and_it_is_served(folder: Path, tiny_base: BaseConfig) -> None:
    together = folder / "reward" / "together"
    loaded = load_model(ModelSpec("tiny", str(together)))
    assert loaded.certificate.passed
    assert loaded.manifest.digest == digest_of(together, loaded.manifest, base_folder(tiny_base))
    loaded.backend.close()
