"""The last layer of a reward artifact, in its adapter's file: a row for each head."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

ADAPTER = Path("adapter") / "adapter_model.safetensors"
"""In an artifact."""
PREFIX = "base_model.model.classifier."


def append_row(source: Path, target: Path, weights: NDArray[np.float64]) -> None:
    """Write the adapter file `source` with one output more to `target`.

    Args:
        weights: float64 [D], of the new output; its bias is 0.
    """
    tensors = load_file(source)
    row = torch.tensor(weights, dtype=torch.float32).unsqueeze(0)
    tensors[f"{PREFIX}weight"] = torch.cat([tensors[f"{PREFIX}weight"], row])
    tensors[f"{PREFIX}bias"] = torch.cat([tensors[f"{PREFIX}bias"], torch.zeros(1)])
    save_file(tensors, target)


def last_layer(adapter: Path) -> nn.Linear:
    """What an adapter file holds of it, D to as many outputs as it has rows."""
    tensors = load_file(adapter)
    weight = tensors[f"{PREFIX}weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": tensors[f"{PREFIX}bias"]})
    return layer
