"""DeepSpeed on two processes trains what one process trains without it, in parts (ZeRO)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_training.cli import train_command
from guerdon_training.distributed import begin_processes
from guerdon_training.zero_options import check_zero, zero_options
from tests.training_policy.launch import ZERO, check_same, go_on_alone, launch, read_log
from tests.training_policy.launched import RECIPES
from tests.training_policy.runs import ONE_EPOCH, ROWS, prepare_dpo, prepare_sft, two_epochs
from tests.training_policy.tiny_lm import demonstrations, write_jsonl
from tests.training_reward.lm_runs import prepare as prepare_reward_lm

pytestmark = pytest.mark.timeout(900)  # eleven runs, most of the time starting
RUNS = {"zero_2": ("full", "dpo"), "zero_3": ("full", "dpo", "reward-lm"), "zero_1": ("dpo",)}
"""By the output of two processes; the last is in bf16."""
STAGE_3 = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0, "reduce_bucket_size": "auto"}
}


@pytest.fixture(scope="module")
def folder(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run's ``artifact`` of one process, and those of two."""
    root = tmp_path_factory.mktemp("zero")
    for run in RUNS["zero_3"]:
        (root / run).mkdir()
    prepare_sft(root / "full", tiny_lm, tables="")
    other = [record | {"response": "I am sorry, but I cannot help"} for record in demonstrations(10, 1)]
    write_jsonl(root / "full" / "valid.jsonl", other)  # worse from epoch to epoch
    two_epochs(prepare_dpo(root / "dpo", tiny_lm))
    prepare_reward_lm(root / "reward-lm", tiny_lm, tables="")
    (root / "zero_3.json").write_text(json.dumps(STAGE_3), "utf-8")
    for run in RUNS["zero_3"]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root / run)
            assert train_command([RECIPES.get(run, run), "config.yaml"]) == 0
    launch(root, ZERO, RUNS)
    return root


def _manifest(artifact: Path) -> dict[str, Any]:
    return dict(json.loads((artifact / "manifest.json").read_text("utf-8")))


def _figures(run: str, artifact: Path) -> dict[str, Any]:
    """What was measured, by split."""
    metrics = _manifest(artifact)["metrics"]
    if run == "reward-lm":
        return {split: found["pooled"]["accuracy"]["value"] for split, found in metrics["politeness"].items()}
    return dict(metrics)


@pytest.mark.parametrize("output", ["zero_2", "zero_3"])
def test_two_processes_end_in_the_weights_of_one_and_measure_the_kept_ones(folder: Path, output: str) -> None:
    for run in RUNS[output]:
        one, two = (folder / run / name for name in ("artifact", output))
        check_same(one, two)
        expected, measured = (_figures(run, artifact) for artifact in (one, two))
        for split in ("valid", "test"):
            assert expected[split] == pytest.approx(measured[split], rel=1e-2, abs=1e-3), run
    log = read_log(folder / "full/artifact")
    assert max(line["gradient_norm"] for line in log if "gradient_norm" in line) > 1, "nothing was clipped"
    assert _manifest(folder / "full/artifact")["metrics"]["epoch"] < log[-1]["epoch"], "the best came last"


def test_the_service_certifies_a_reward_model_trained_in_parts(folder: Path) -> None:
    loaded = load_model(ModelSpec("tiny", str(folder / "reward-lm/zero_3")))
    assert loaded.certificate.passed
    loaded.backend.close()


@pytest.mark.parametrize("output", ["zero_2", "zero_3"])
def test_what_processes_begin_with_deepspeed_one_alone_ends(
    folder: Path, output: str, tmp_path: Path
) -> None:
    ended = go_on_alone(folder / "full", output, ["sft", "config.yaml", *ROWS], tmp_path / "copy")
    check_same(folder / "full/artifact", ended)


def test_bf16_computes_what_it_computes_without_deepspeed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "dpo")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert train_command(["dpo", "config.yaml", *ROWS, *ONE_EPOCH, "--set", "output=bf16"]) == 0
    exact, one, two = (read_log(folder / "dpo" / name)[0] for name in ("artifact", "bf16", "zero_1"))
    assert one == pytest.approx(two, rel=1e-4)  # the first update, before weights drift apart
    assert one["loss"] != pytest.approx(exact["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "mixed_precision", "remedy"),
    [
        ({"stage": 0}, "no", "zero_stage is 0; give 1, 2 or 3, or launch without --use_deepspeed"),
        ({"stage": 2}, "fp16", "mixed_precision is fp16; with DeepSpeed give no or bf16"),
        ({"stage": 2, "offload_optimizer": {"device": "cpu"}}, "no", "nothing is offloaded here"),
        ({"stage": 3, "offload_param": {"device": "nvme"}}, "no", "nothing is offloaded here"),
        ({}, "no", "zero_stage is None; give 1, 2 or 3"),
        ({"stage": 2, "cpu_offload": True}, "no", "cpu_offload of zero_optimization is not tested"),
        ({"stage": 3, "zero_quantized_weights": True}, "no", "zero_quantized_weights of zero_optimization"),
    ],
)
def test_what_is_not_tested_is_refused(options: Mapping[str, Any], mixed_precision: str, remedy: str) -> None:
    check_zero({"stage": 3, "offload_param": {"device": "none", "nvme_path": None}}, "bf16")
    with pytest.raises(InvalidInput, match=remedy):
        check_zero(options, mixed_precision)


def test_a_launch_with_deepspeed_never_goes_on_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zero_options() is None
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")  # what --use_deepspeed sets
    with pytest.raises(InvalidInput, match="which this recipe does not train with"):
        begin_processes(cpu=True)
    with pytest.raises(InvalidInput, match=r"pip install 'guerdon\[deepspeed\]'"):
        begin_processes(zero=True, cpu=True)  # it is installed for launched processes alone
