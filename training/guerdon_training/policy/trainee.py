"""A model with its optimizer while it is trained: whole in each process, or in parts (FSDP)."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from guerdon_training.policy.config import PolicyOptim
from guerdon_training.ppo.checkpoint import trained_parameters
from guerdon_training.sharded import load_whole, restore_optimizer, whole_on_cpu, whole_optimizer


class Trainee(Protocol):
    """What `fit` trains. Every method is a collective operation: all processes call it, in one order."""

    @property
    def model(self) -> nn.Module:
        """What losses are computed with."""
        ...

    def batch(self, is_last: bool) -> AbstractContextManager[object]:
        """Around forward and backward of one batch of a step, the last of this process's share or not."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient, which processes average."""
        ...

    def step(self, learning_rate: float) -> float:
        """Update the weights by the gradient, clipped, and forget it; its norm before it was clipped."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Trained parameters by name, whole, on the CPU of the main process; elsewhere none."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        ...

    def state(self) -> dict[str, Any]:
        """``optimizer``, as torch's AdamW writes it, with tensors as in `weights`, and ``scaler`` (fp16)."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave, here or over another number of processes."""
        ...


def adamw(model: nn.Module, optim: PolicyOptim) -> torch.optim.AdamW:
    """AdamW over the parameters that train."""
    return torch.optim.AdamW(
        trained_parameters(model).values(), lr=optim.learning_rate, weight_decay=optim.weight_decay
    )


@dataclass(frozen=True, slots=True)
class Accelerated:
    """By accelerate, in one process, in copies (DDP) or in parts (FSDP).

    model, optimizer: prepared. trained: of the model, by name, taken while none is gathered.
    """

    accelerator: Accelerator
    model: nn.Module
    trained: Mapping[str, nn.Parameter]
    optimizer: Any
    max_grad_norm: float

    def batch(self, is_last: bool) -> AbstractContextManager[object]:
        """Copies average once a step; parts of a gradient are added up where they belong: no process has
        room for all of it.
        """
        if is_last or isinstance(self.model, FSDPModule):
            return nullcontext()
        return self.accelerator.no_sync(self.model)  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        """See `Trainee`."""
        self.accelerator.backward(loss)

    def step(self, learning_rate: float) -> float:
        """See `Trainee`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def weights(self) -> dict[str, Tensor]:
        """See `Trainee`."""
        return whole_on_cpu(self.trained, kept=self.accelerator.is_main_process)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """See `Trainee`."""
        load_whole(self.trained, weights, self.model)

    def state(self) -> dict[str, Any]:
        """See `Trainee`."""
        scaler = self.accelerator.scaler
        return {
            "optimizer": whole_optimizer(self.optimizer, kept=self.accelerator.is_main_process),
            "scaler": {} if scaler is None else scaler.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Trainee`."""
        restore_optimizer(self.optimizer, state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])


def accelerated(accelerator: Accelerator, model: nn.Module, optim: PolicyOptim) -> Accelerated:
    """Prepare `model` for training as accelerate is configured."""
    prepared, optimizer = accelerator.prepare(model, adamw(model, optim))
    return Accelerated(accelerator, prepared, trained_parameters(model), optimizer, optim.max_grad_norm)
