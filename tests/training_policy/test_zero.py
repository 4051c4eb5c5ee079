"""DeepSpeed on two processes trains what one process trains without it, in parts (ZeRO)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from guerdon_service.core.errors import InvalidInput
from guerdon_training.cli import train_command
from guerdon_training.distributed import begin_processes
from guerdon_training.zero_options import check_zero, zero_options
from tests.ports import free_port
from tests.training_policy.launched import RECIPES
from tests.training_policy.runs import ROWS, prepare_dpo, prepare_sft
from tests.training_policy.tiny_lm import demonstrations, write_jsonl

ROOT = Path(__file__).parents[2]
LIBRARIES = Path(sys.prefix) / "deepspeed"
RUNS = ("full", "dpo")
STAGE_3 = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0, "reduce_bucket_size": "auto"}
}


@pytest.fixture(scope="module")
def alone(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run's ``artifact`` of one process."""
    root = tmp_path_factory.mktemp("zero")
    for run in RUNS:
        (root / run).mkdir()
    prepare_sft(root / "full", tiny_lm, tables="")
    other = [record | {"response": "I am sorry, but I cannot help"} for record in demonstrations(10, 1)]
    write_jsonl(root / "full" / "valid.jsonl", other)  # worse from epoch to epoch
    prepare_dpo(root / "dpo", tiny_lm)
    for run in RUNS:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root / run)
            assert train_command([RECIPES.get(run, run), "config.yaml"]) == 0
    return root


@pytest.fixture(scope="module", params=["zero_2", "zero_3"])
def output(alone: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Name of the artifacts of two processes."""
    config = alone / "zero_3.json"
    config.write_text(json.dumps(STAGE_3), "utf-8")
    options = {"zero_2": ["--zero_stage", "2"], "zero_3": ["--deepspeed_config_file", str(config)]}
    _launch(alone, request.param, options[request.param], RUNS)
    yield request.param


def _launch(root: Path, output: str, options: list[str], runs: Sequence[str], precision: str = "no") -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--use_deepspeed", *options]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", precision]
    launch += ["--dynamo_backend", "no", "--main_process_port", str(free_port())]
    launch += ["--module", "tests.training_policy.zero_launched", str(root), output, *runs]
    path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p), str(LIBRARIES)])
    settings = {"ACCELERATE_USE_CPU": "true", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings | {"PYTHONPATH": path}
    found = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert found.returncode == 0, found.stderr[-4000:]


def _manifest(artifact: Path) -> dict[str, Any]:
    return dict(json.loads((artifact / "manifest.json").read_text("utf-8")))


def _log(artifact: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_two_processes_end_in_the_weights_of_one_and_measure_the_kept_ones(alone: Path, output: str) -> None:
    for run in RUNS:
        one, two = (alone / run / name for name in ("artifact", output))
        whole, parts = (load_file(artifact / "model.safetensors") for artifact in (one, two))
        assert whole.keys() == parts.keys()
        for name, weight in whole.items():
            assert float((weight - parts[name]).abs().max()) < 2e-4, (run, name)
        for a, b in zip(_log(one), _log(two), strict=True):  # AdamW does not tell a gradient from twice that
            assert a == pytest.approx(b, rel=1e-2, abs=1e-4)
        expected, measured = (_manifest(artifact)["metrics"] for artifact in (one, two))
        for split in ("valid", "test"):
            assert expected[split] == pytest.approx(measured[split], rel=1e-2, abs=1e-3), run
        assert not (two / ".run").exists()
    log = _log(alone / "full/artifact")
    assert max(line["gradient_norm"] for line in log if "gradient_norm" in line) > 1, "nothing was clipped"
    assert _manifest(alone / "full/artifact")["metrics"]["epoch"] < log[-1]["epoch"], "the best came last"


def test_bf16_computes_what_it_computes_without_deepspeed(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(alone / "dpo")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert train_command(["dpo", "config.yaml", *ROWS, "--set", "output=bf16"]) == 0
    _launch(alone, "zero_1", ["--zero_stage", "1"], ["dpo"], "bf16")
    exact, one, two = (_log(alone / "dpo" / name)[0] for name in ("artifact", "bf16", "zero_1"))
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
