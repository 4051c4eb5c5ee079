"""From the fp32 graph to an int8 one: `MatMulNBits`, 8 bits, in every linear layer of the trunk.

Activations are quantised inside the operator, with one scale per token and block of `BLOCK_CHANNELS`
channels; weights with one scale per output channel and block. Nothing is measured over a batch or a tensor.
Attention, norms, embeddings, pooled row and head keep fp32.

Transformers have a few channels that are tens of times larger than the rest and would take the scale for
themselves. Each input channel is therefore divided, and its weights multiplied, by a constant (SmoothQuant,
Xiao et al. 2023, arXiv:2211.10438, equation 4, alpha = `SMOOTHING`) found on calibration conversations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from guerdon_service.app.export_graph import MAX_INLINE_BYTES
from guerdon_service.core.errors import InvalidInput

Array = NDArray[np.float32]
Feed = dict[str, NDArray[np.int64]]

BLOCK_CHANNELS = 128
"""Channels that share a scale: measured on MiniLM, 32 is as exact as 128 with smoothing but slower."""
SMOOTHING = 0.6
"""Measured best of 0.5, 0.6, 0.7, 0.8 on MiniLM: share of a channel's range that moves to the weights."""
_TINY = 1e-5
"""Least range of a channel; those that calibration never saw move are not blown up."""
_INT8_ACTIVATIONS = 4
"""`accuracy_level` of MatMulNBits."""
_ZERO_POINT = 128


@dataclass(frozen=True, slots=True)
class _Linear:
    """A product `output` = `input` @ weight with a constant weight float32 [K, N]."""

    node: onnx.NodeProto
    weight: Array

    @property
    def input(self) -> str:
        return str(self.node.input[0])


def export_int8(fp32: Path, path: Path, calibration: Sequence[Feed]) -> None:
    """Write the int8 graph of an fp32 one.

    Args:
        calibration: inputs of conversations like those to be scored.

    Raises:
        InvalidInput: the graph has no linear layer to quantise.
    """
    model = onnx.load(fp32)
    linears = _linears(model.graph)
    if not linears:
        raise InvalidInput("onnx/fp32.onnx has no linear layers to quantise; use dtype fp32", param="dtype")
    ranges = _channel_ranges(fp32, sorted({linear.input for linear in linears}), calibration)
    replacement: dict[str, list[onnx.NodeProto]] = {}
    constants: list[onnx.TensorProto] = []
    for name, channels in ranges.items():
        group = [linear for linear in linears if linear.input == name]
        factor = _smoothing(channels, [linear.weight for linear in group])
        constants.append(numpy_helper.from_array(1 / factor, f"{name}.smooth"))
        smooth = helper.make_node("Mul", [name, f"{name}.smooth"], [f"{name}.smoothed"])
        for i, linear in enumerate(group):
            node, tensors = _quantised(linear, f"{name}.smoothed", factor)
            replacement[linear.node.output[0]] = [smooth, node] if i == 0 else [node]
            constants += tensors
    _replace(model, replacement, constants)
    onnx.save(
        model, path, save_as_external_data=_num_bytes(model) > MAX_INLINE_BYTES, location=f"{path.name}.data"
    )


def _linears(graph: onnx.GraphProto) -> list[_Linear]:
    """Products of the trunk: their inputs are [1, S, K], those of the head [1, K]."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    return [
        _Linear(node, numpy_helper.to_array(constants[node.input[1]]))
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in constants and ranks.get(node.input[0]) == 3
    ]


def _channel_ranges(fp32: Path, names: Sequence[str], calibration: Sequence[Feed]) -> dict[str, Array]:
    """Largest magnitude of each channel, float32 [K], of the tensors `names` over all conversations."""
    model = onnx.load(fp32, load_external_data=False)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    watched = fp32.with_name("watched.onnx")  # beside the weights that the graph may name
    onnx.save(model, watched)
    session = ort.InferenceSession(str(watched), providers=["CPUExecutionProvider"])
    ranges: dict[str, Array] = {}
    for feed in calibration:
        for name, value in zip(names, session.run(list(names), feed), strict=True):
            seen = np.abs(value).max(axis=(0, 1))
            ranges[name] = np.maximum(ranges.get(name, seen), seen)
    watched.unlink()
    return ranges


def _smoothing(channels: Array, weights: Sequence[Array]) -> Array:
    """Divisor of each input channel, float32 [K]."""
    largest = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    ratio = np.maximum(channels, _TINY) ** SMOOTHING / np.maximum(largest, _TINY) ** (1 - SMOOTHING)
    return np.asarray(ratio, dtype=np.float32)


def _quantised(linear: _Linear, source: str, factor: Array) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """The node that takes the place of `linear`, and its constants."""
    output = str(linear.node.output[0])
    values, scales = _quantise((linear.weight * factor[:, None]).T)
    names = (f"{output}.weight", f"{output}.scales")
    num_in, num_out = linear.weight.shape
    node = helper.make_node(
        "MatMulNBits",
        [source, *names],
        [output],
        domain="com.microsoft",
        K=num_in,
        N=num_out,
        bits=8,
        block_size=BLOCK_CHANNELS,
        accuracy_level=_INT8_ACTIVATIONS,
    )
    return node, [numpy_helper.from_array(values, names[0]), numpy_helper.from_array(scales, names[1])]


def _quantise(rows: Array) -> tuple[NDArray[np.uint8], Array]:
    """Symmetric uint8 [N, blocks, BLOCK_CHANNELS] around 128, and scales float32 [N, blocks], of [N, K]."""
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % BLOCK_CHANNELS)))
    blocks = padded.reshape(len(rows), -1, BLOCK_CHANNELS)
    scales = np.maximum(np.abs(blocks).max(axis=-1), np.finfo(np.float32).tiny) / 127
    values = np.rint(blocks / scales[..., None]) + _ZERO_POINT
    return values.astype(np.uint8), scales.astype(np.float32)


def _replace(
    model: onnx.ModelProto, replacement: dict[str, list[onnx.NodeProto]], constants: list[onnx.TensorProto]
) -> None:
    graph = model.graph
    nodes = list(_merged(graph.node, replacement))
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    for field in ("node", "initializer", "value_info"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *constants])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _merged(
    nodes: Sequence[onnx.NodeProto], replacement: dict[str, list[onnx.NodeProto]]
) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield from replacement.get(node.output[0], [node])


def _num_bytes(model: onnx.ModelProto) -> int:
    return int(sum(tensor.ByteSize() for tensor in model.graph.initializer))
