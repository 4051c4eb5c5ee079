"""Ranges of an encoder's activations: measured once by ``guerdon export``, then part of the artifact."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig

from guerdon_service.backends.safe import weight_files
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput

FILE = "torch/int8.safetensors"
"""Inside the artifact; its digest covers it."""
_WEIGHTS = "weights"

LayerRanges = dict[str, Tensor]
"""Lowest and highest value of each channel, fp32 [2, channels]: of what enters the attention (``hidden``),
its output product (``context``) and the feed-forward part (``middle``), and of the latter's GELU
(``active``)."""


def write_ranges(artifact: Artifact, folder: Path, ranges: list[LayerRanges]) -> None:
    """Write `FILE` below `folder`: the ranges of each layer of the artifact's trunk."""
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    tensors = {f"{i}.{name}": tensor for i, layer in enumerate(ranges) for name, tensor in layer.items()}
    save_file(tensors, path, metadata={_WEIGHTS: _digest(artifact)})


def read_ranges(artifact: Artifact, config: PreTrainedConfig) -> list[LayerRanges]:
    """The ranges of each layer.

    Raises:
        InvalidInput: no file, a damaged one, or one that was measured on other weights.
    """
    path = artifact.folder / FILE
    remedy = f"write it with guerdon export --model {artifact.folder.name} --dtype int8"
    if not path.is_file():
        raise InvalidInput(f"model {artifact.manifest.name} has no {FILE}; {remedy}", param="dtype")
    try:
        with safe_open(path, framework="pt") as file:
            weights = (file.metadata() or {}).get(_WEIGHTS)
            ranges = [_layer(file, i, config) for i in range(config.num_hidden_layers)]
    except (SafetensorError, OSError, ValueError) as err:
        raise InvalidInput(f"{FILE} cannot be read ({err}); {remedy}", param="source") from err
    if weights != _digest(artifact):
        raise InvalidInput(f"{FILE} was measured on other weights; {remedy}", param="source")
    return ranges


def _layer(file: Any, index: int, config: PreTrainedConfig) -> LayerRanges:
    sizes = dict.fromkeys(("hidden", "context", "middle"), config.hidden_size)
    layer = {name: file.get_tensor(f"{index}.{name}") for name in (*sizes, "active")}
    for name, size in (sizes | {"active": config.intermediate_size}).items():
        if layer[name].shape != (2, size) or not torch.isfinite(layer[name]).all():
            raise ValueError(f"{index}.{name} is not the finite ranges of {size} channels")
    return {name: tensor.float() for name, tensor in layer.items()}


def _digest(artifact: Artifact) -> str:
    """SHA-256 (hex) of the weights that were measured: the base's files, then the adapter's."""
    digest = hashlib.sha256()
    paths = list(weight_files(artifact.base_folder))
    if artifact.adapter_folder is not None:
        paths += sorted(artifact.adapter_folder.glob("[!.]*.safetensors"))  # digests leave hidden files out
    for path in paths:
        digest.update(bytes.fromhex(artifact.sha256[path]))
    return digest.hexdigest()
