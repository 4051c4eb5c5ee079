"""Ranges of an encoder's activations on calibration conversations, for the torch back end's int8."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.families import lift_pooler
from guerdon_service.backends.int8_ranges import LayerRanges
from guerdon_service.backends.load import load_reference
from guerdon_service.backends.rows import row_logits
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded


def measure_ranges(artifact: Artifact, calibration: Sequence[Encoded]) -> list[LayerRanges]:
    """Lowest and highest value of each channel in each layer of an fp32 forward over `calibration`."""
    model = load_reference(artifact)
    lift_pooler(model)
    ranges: list[LayerRanges] = []
    layers: Any = model.base_model.encoder.layer  # type: ignore[union-attr]
    for layer in layers:
        seen: LayerRanges = {}
        ranges.append(seen)
        for name, product in _products(layer).items():
            product.register_forward_pre_hook(partial(_watch, seen, name))
    with torch.inference_mode():
        row_logits(model, artifact.manifest, calibration)
    return ranges


def _products(layer: Any) -> dict[str, nn.Module]:
    return {
        "hidden": layer.attention.self.query,
        "context": layer.attention.output.dense,
        "middle": layer.intermediate.dense,
        "active": layer.output.dense,
    }


def _watch(seen: LayerRanges, name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
    rows = inputs[0].flatten(0, -2)
    if name in seen:
        rows = torch.cat([rows, seen[name]])
    seen[name] = torch.stack([rows.amin(0), rows.amax(0)])
