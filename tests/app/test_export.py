"""`guerdon export` writes graphs that agree with the model, or nothing at all."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from guerdon.cli.main import main
from guerdon_service.app import export
from guerdon_service.app.export import export_command
from guerdon_service.app.loader import load_model
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.artifact import Artifact, ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import to_json
from tests.backends.exported import exported
from tests.tiny import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A plain Hugging Face folder."""
    return Path(shutil.copytree(tiny("bert", 2), tmp_path / "model"))


@pytest.fixture
def ready_graph(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the graph that `exported` made, its logits moved, in place of the exporter's seconds of work."""

    def install(moved: float) -> None:
        def write(artifact: Artifact, path: Path) -> None:
            graph = onnx.load(exported("bert").folder / "onnx" / "fp32.onnx")
            graph.graph.node[-1].output[0] = "right"
            graph.graph.initializer.append(numpy_helper.from_array(np.array(moved, np.float32), "moved"))
            graph.graph.node.append(helper.make_node("Add", ["right", "moved"], ["logits"]))
            onnx.save(graph, path)

        monkeypatch.setattr(export, "export_graph", write)

    return install


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_the_exported_model_is_served_with_a_certificate(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(model)
    assert main(["export", "--model", str(model), "--tolerance", "1e-4"]) == 0
    graphs = {"onnx", "onnx/fp32.onnx", "onnx/int8.onnx"}
    assert files(model) - before == graphs | {"torch", "torch/int8.safetensors"}
    fp32, int8, torch_int8 = capsys.readouterr().out.splitlines()
    assert fp32.startswith("fp32: largest difference ")
    assert int8.startswith("onnx int8: ")
    assert torch_int8.startswith("torch int8: ")
    for backend, dtype in (("onnxruntime", "float32"), ("onnxruntime", "int8"), ("torch", "int8")):
        served = load_model(ModelSpec("m", str(model), backend, dtype), num_threads=1)
        assert (served.certificate.passed, served.backend.dtype) == (True, dtype)
        served.backend.close()


@pytest.mark.parametrize("moved", [2e-4, -1.0, float("nan")])
def test_a_graph_that_disagrees_is_refused_and_nothing_is_left(
    model: Path, ready_graph: Callable[[float], None], moved: float, capsys: pytest.CaptureFixture[str]
) -> None:
    ready_graph(moved)
    before = files(model)
    with pytest.raises(InvalidInput, match=r"onnx fp32 differs .* more than tolerance 0\.0001; .* torch"):
        export_command(["--model", str(model)])
    assert main(["export", "--model", str(model)]) != 0
    assert "onnx fp32 differs" in capsys.readouterr().err
    assert files(model) == before


def test_the_tolerance_is_the_users(model: Path, ready_graph: Callable[[float], None]) -> None:
    ready_graph(2e-4)
    assert export_command(["--model", str(model), "--dtype", "fp32", "--tolerance", "1e-3"]) == 0
    with pytest.raises(InvalidInput, match="more than tolerance 0;"):
        export_command(["--model", str(model), "--dtype", "fp32", "--tolerance", "0"])


def test_int8_that_loses_the_order_is_refused_and_nothing_is_left(
    model: Path, ready_graph: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def upside_down(fp32: Path, path: Path, calibration: object) -> None:
        graph = onnx.load(fp32)
        graph.graph.node[-1].output[0] = "upright"
        graph.graph.node.append(helper.make_node("Neg", ["upright"], ["logits"]))
        onnx.save(graph, path)

    ready_graph(0.0)
    monkeypatch.setattr(export, "export_int8", upside_down)
    before = files(model)
    with pytest.raises(InvalidInput, match=r"onnx int8 orders 0\.0% of \d+ pairs"):
        export_command(["--model", str(model)])
    assert files(model) == before


def test_only_what_was_asked_for_is_written(model: Path, ready_graph: Callable[[float], None]) -> None:
    ready_graph(0.0)
    assert export_command(["--model", str(model), "--dtype", "int8"]) == 0
    assert {name for name in files(model) if name.startswith("onnx/")} == {"onnx/int8.onnx"}


def test_the_digest_covers_the_graph(model: Path, ready_graph: Callable[[float], None]) -> None:
    """So a changed graph is another model to the cache, and a sealed manifest refuses it."""
    manifest = model / "manifest.json"
    manifest.write_text(to_json(replace(read_artifact(str(model)).manifest, digest="")))
    manifest.write_text(to_json(read_artifact(str(model)).manifest))
    sealed = read_artifact(str(model)).manifest.digest
    ready_graph(0.0)
    export_command(["--model", str(model), "--dtype", "fp32"])
    exported_digest = read_artifact(str(model)).manifest.digest
    assert exported_digest != sealed
    assert json.loads(manifest.read_text())["digest"] == exported_digest
    graph = model / "onnx" / "fp32.onnx"
    graph.write_bytes(graph.read_bytes() + b"\x00")
    with pytest.raises(InvalidInput, match="changed after its manifest was written"):
        read_artifact(str(model))


def test_output_is_a_copy_and_the_source_stays_as_it_was(
    model: Path, ready_graph: Callable[[float], None], tmp_path: Path
) -> None:
    ready_graph(0.0)
    before = files(model)
    command = ["--model", str(model), "--dtype", "fp32", "--output", str(tmp_path / "copy")]
    assert export_command(command) == 0
    assert files(model) == before
    assert files(tmp_path / "copy") == before | {"onnx", "onnx/fp32.onnx"}
    assert {p.name for p in tmp_path.iterdir()} == {"model", "copy"}
    with pytest.raises(InvalidInput, match=r"copy exists"):
        export_command(command)
    with pytest.raises(InvalidInput, match="its parent does not"):
        export_command([*command[:-1], str(tmp_path / "no" / "copy")])


def test_the_embedded_model_is_exported_to_a_copy_alone() -> None:
    with pytest.raises(InvalidInput, match="name a folder for a copy with --output") as refused:
        export_command(["--model", "default"])
    assert refused.value.param == "output"


def test_calibration_pairs_are_compared(
    model: Path,
    ready_graph: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = []

    def same(fp32: Path, path: Path, calibration: list[object]) -> None:
        seen.append(len(calibration))
        shutil.copy(fp32, path)

    ready_graph(0.0)
    monkeypatch.setattr(export, "export_int8", same)
    record = {"prompt": [{"role": "user", "content": "How many?"}]}
    lines = [json.dumps(record | {"chosen": f"{i} apples", "rejected": f"no {i}"}) for i in range(40)]
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    export_command(["--model", str(model), "--calibration", str(path)])
    assert seen == [2 * 32]
    assert "100.00% of 8 pairs ordered as fp32 does" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "calibration has 0 usable pairs; give more than 32"),
        ('{"prompt": "a", "chosen": "b"}', r"calibration pairs\.jsonl:1 is no preference record"),
        ("[]", r"calibration pairs\.jsonl:1 is no preference record"),
        (None, r"calibration pairs\.jsonl cannot be read"),
    ],
)
def test_calibration_that_cannot_be_used_is_refused(
    model: Path, tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "pairs.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        export_command(["--model", str(model), "--calibration", str(path)])
    assert not (model / "onnx").exists()
