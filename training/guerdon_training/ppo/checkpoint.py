"""The state of a run between two updates, on disk: whole or not at all."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.whole_file import whole_file
from guerdon_training.run_identity import is_same_run
from guerdon_training.sharded import whole_on_cpu

CHECKPOINT = "checkpoint.pt"
_WRAPPED = "_checkpoint_wrapped_module."
"""What torch puts into the names of layers whose activations are checkpointed."""


def trained_state(model: nn.Module, *, kept: bool = True) -> dict[str, torch.Tensor]:
    """Whole parameters that train, by name, on the CPU; frozen ones come from the base again.

    A collective operation where they are sharded; see `whole_on_cpu`.
    """
    return whole_on_cpu(trained_parameters(model), kept=kept)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """By name, which activation checkpointing does not change; of a sharded model this process's parts."""
    named = ((name.replace(_WRAPPED, ""), p) for name, p in model.named_parameters())
    return {name: p for name, p in named if p.requires_grad}


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file; the old one stays until the new one is on disk.

    Raises:
        GuerdonError: the disk is full, or the folder cannot be written to; the old file is untouched.
    """
    data = io.BytesIO()
    torch.save(dict(state), data)
    try:
        with whole_file(path) as draft, draft.open("wb") as file:
            file.write(data.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise GuerdonError(
            f"{path} could not be written ({err.strerror}); what it held before is intact: make room and run "
            "the same command again"
        ) from err


def load_state(path: Path, identity: str) -> dict[str, Any] | None:
    """What `save_state` wrote, tensors on the CPU; None where there is no file.

    Args:
        identity: see `run_identity`; `state` holds it.

    Raises:
        InvalidInput: it is of another config, data, base or reward, or of an older version, or damaged.
    """
    if not path.is_file():
        folder = path.with_suffix("")
        if folder.is_dir():
            raise InvalidInput(
                f"{folder} is the checkpoint of an older version, which cannot be gone on with; remove it to "
                "start over, or give another output",
                param="output",
            )
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # torch raises whatever a damaged file provokes
        raise InvalidInput(
            f"{path} cannot be read ({type(err).__name__}); remove it to start over", param="output"
        ) from err
    if not is_same_run(state["identity"], identity):
        raise InvalidInput(
            f"{path} is of another config, data, base or reward; remove it, or give another output",
            param="output",
        )
    return state
