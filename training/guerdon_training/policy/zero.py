"""DeepSpeed's engine as a `Trainee`: it steps and clips by itself, and each process holds a part (ZeRO).

Stage 1 divides AdamW's state, 2 the gradients too, 3 the weights too. The functions of DeepSpeed used here
give and take whole tensors, so that a checkpoint is the same file as without it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import Any

import deepspeed
import torch
from accelerate import Accelerator
from deepspeed import utils
from torch import Tensor, nn

from guerdon_service.core.errors import GuerdonError
from guerdon_training.policy.config import PolicyOptim
from guerdon_training.policy.trainee import adamw
from guerdon_training.ppo.checkpoint import trained_parameters

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Zero:
    """model: DeepSpeed's engine. trained: parameters that train. groups: torch's AdamW's.

    is_writer: whether this process writes what all gather.
    """

    is_writer: bool
    model: Any
    trained: Mapping[str, nn.Parameter]
    groups: Sequence[Mapping[str, Any]]

    def batch(self, is_last: bool) -> AbstractContextManager[object]:
        """See `Trainee`."""
        self.model.set_gradient_accumulation_boundary(is_last)
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """See `Trainee`."""
        self.model.backward(loss)

    def step(self, learning_rate: float) -> float:
        """See `Trainee`.

        Raises:
            GuerdonError: the gradient is not finite. DeepSpeed leaves such a step out without a word.
        """
        for group in self.model.optimizer.param_groups:
            group["lr"] = learning_rate
        self.model.step()
        norm = float(self.model.get_global_grad_norm())
        if not isfinite(norm):
            raise GuerdonError(
                "the gradient is not finite; lower optim.learning_rate. The last checkpoint is intact",
                param="optim.learning_rate",
            )
        return norm

    def weights(self) -> dict[str, Tensor]:
        """See `Trainee`."""
        every = ((name, utils.safe_get_full_fp32_param(p)) for name, p in self.trained.items())
        return {name: value.cpu() for name, value in every if self.is_writer}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Into what the forward reads, and into the copy of it that AdamW updates."""
        for name, value in weights.items():
            with deepspeed.zero.GatheredParameters([self.trained[name]], modifier_rank=0):
                self.trained[name].copy_(value)
            _set(self.trained[name], value)

    def state(self) -> dict[str, Any]:
        """See `Trainee`."""
        (part, *_) = self.model.optimizer.optimizer.state.values()
        state: dict[int, dict[str, Tensor]] = {}
        for number, p in enumerate(self.trained.values()):
            every = ((moment, utils.safe_get_full_optimizer_state(p, moment)) for moment in MOMENTS)
            moments = {moment: value.cpu() for moment, value in every if self.is_writer}
            state[number] = {"step": part["step"].clone(), **moments}
        return {"optimizer": {"state": state, "param_groups": list(self.groups)}, "scaler": {}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Trainee`."""
        saved = state["optimizer"]["state"]
        _begin_moments(self.model.optimizer, saved[0]["step"])
        for number, p in enumerate(self.trained.values()):
            for moment in MOMENTS:
                _set(p, saved[number][moment], moment)


def zero(accelerator: Accelerator, model: nn.Module, optim: PolicyOptim, options: Mapping[str, Any]) -> Zero:
    """Prepare `model` for training by DeepSpeed, with the `options` of `zero_options`."""
    optimizer = adamw(model, optim)
    groups = optimizer.state_dict()["param_groups"]
    # autocast as without DeepSpeed, whose own bf16 would round the weights
    module = accelerator.prepare_model(model, device_placement=False, evaluation_mode=True)
    config = {
        "train_micro_batch_size_per_gpu": 1,  # must be given; `fit` makes the batches
        "gradient_clipping": optim.max_grad_norm,
        "zero_optimization": dict(options),
        "zero_allow_untested_optimizer": True,  # torch's AdamW: DeepSpeed's would be compiled first
        "zero_force_ds_cpu_optimizer": False,
    }
    engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=config)
    return Zero(accelerator.is_main_process, engine, trained_parameters(model), groups)


def _begin_moments(optimizer: Any, step: Tensor) -> None:
    """Make AdamW's state, which the first update would make."""
    is_flat = hasattr(optimizer, "single_partition_of_fp32_groups")  # stages 1 and 2
    parts = optimizer.single_partition_of_fp32_groups if is_flat else optimizer.fp32_partitioned_groups_flat
    state = optimizer.optimizer.state
    for part in parts:
        state[part] = {"step": step.clone(), **{moment: torch.zeros_like(part) for moment in MOMENTS}}
    if is_flat:
        for group, part in zip(optimizer.bit16_groups, parts, strict=True):
            utils.lazy_init_hp_params_optimizer_state(group, part, state)


def _set(parameter: nn.Parameter, value: Tensor, moment: str = "") -> None:
    """Into AdamW's copy of a parameter, or its moment, this process's part of a whole tensor."""
    if hasattr(parameter, "ds_tensor"):  # stage 3, whose last part may be padded
        size, count = parameter.ds_tensor.numel(), torch.distributed.get_world_size()
        padded = nn.functional.pad(value.flatten(), (0, size * count - value.numel()))
        value = padded.narrow(0, size * torch.distributed.get_rank(), size)
        set_state, set_weight = utils.safe_set_local_optimizer_state, utils.safe_set_local_fp32_param
    else:
        set_state, set_weight = utils.safe_set_full_optimizer_state, utils.safe_set_full_fp32_param
    if moment:
        set_state(parameter, value, moment)
    else:
        set_weight(parameter, value)
