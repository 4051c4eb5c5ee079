"""Tensors of which each process holds a part (FSDP): made whole, and taken apart again.

What is not sharded passes through as it is, so that a checkpoint is the same file whether the run that wrote
it was sharded or not, and over however many processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def place(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """The model on this process's device: whole, or under FSDP a part of it.

    A layer is gathered while it runs; what is no layer by the word of transformers, together.
    """
    if not accelerator.is_fsdp2:
        return model.to(accelerator.device)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    names = {name for m in model.modules() for name in getattr(m, "_no_split_modules", None) or ()}
    for module in (*(m for m in model.modules() if type(m).__name__ in names), model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return model


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Within it every process holds all of a model from `place`, and no forward waits for another process.

    Entering it is a collective operation.
    """
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    yield
    for part in parts:
        part.reshard()
        part.set_reshard_after_forward(True, recurse=False)


def mean_gradients(accelerator: Accelerator, parameters: Sequence[Tensor]) -> None:
    """Every process gets the mean of all gradients, and so the same step; sharded ones are that by now."""
    if accelerator.num_processes > 1:
        for p in parameters:
            if not isinstance(p, DTensor):
                p.grad = accelerator.reduce(torch.zeros_like(p) if p.grad is None else p.grad, "mean")


def whole(value: Tensor) -> Tensor:
    """All of it, without gradient. A collective operation: every process asks for the same, in one order."""
    value = value.detach()
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_on_cpu(tensors: Mapping[str, Tensor], *, kept: bool = True) -> dict[str, Tensor]:
    """`whole` of each, one by one, so that no device holds more than one of them.

    Args:
        kept: whether this process has a use for them. One that has not gets nothing, or the memory of a
            machine would hold all of them once for each of its processes.
    """
    every = ((name, whole(value)) for name, value in tensors.items())
    return {name: value.cpu() for name, value in every if kept}


def part_as(like: Tensor, value: Tensor) -> Tensor:
    """Of a whole tensor what this process holds of `like`; nothing is sent."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def clip_norm(accelerator: Accelerator, parameters: Sequence[Tensor], max_norm: float) -> float:
    """Clip the norm of all gradients together, sharded ones and whole ones; the norm before."""
    groups = [
        [p.grad for p in parameters if p.grad is not None and isinstance(p, DTensor) is x]
        for x in (True, False)
    ]
    if not groups[0]:
        return float(accelerator.clip_grad_norm_(parameters, max_norm))
    norms = [whole(nn.utils.get_total_norm(grads)) for grads in groups if grads]
    norm = float(torch.linalg.vector_norm(torch.stack(norms)))
    scale = min(1.0, max_norm / (norm + 1e-6))  # as torch does it, which takes no mixture
    for grad in (grad for grads in groups for grad in grads):
        grad.mul_(scale)
    return norm


@torch.no_grad()
def load_whole(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor], model: nn.Module) -> None:
    """Copy whole tensors into the parameters of these names; what `model` has gathered of old ones goes."""
    for name, value in values.items():
        parameters[name].copy_(part_as(parameters[name], value))
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # a forward without gradients may have left it whole


def whole_optimizer(optimizer: torch.optim.Optimizer, *, kept: bool = True) -> dict[str, Any]:
    """Its state with whole tensors on the CPU; a collective operation, as `whole_on_cpu`."""
    state = optimizer.state_dict()
    whole_state = {number: whole_on_cpu(found, kept=kept) for number, found in state["state"].items()}
    return {**state, "state": whole_state}


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load what `whole_optimizer` gave, this process's part of it."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        number: {k: part_as(parameters[number], v) if v.dim() else v for k, v in found.items()}
        for number, found in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})
