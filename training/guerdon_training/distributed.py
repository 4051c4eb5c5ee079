"""How the processes of ``accelerate launch`` may share a run."""

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from accelerate import (
    Accelerator,
    DistributedType,
    FullyShardedDataParallelPlugin,
    InitProcessGroupKwargs,
    PartialState,
)
from accelerate.state import AcceleratorState, is_initialized
from accelerate.utils import parse_flag_from_env

from guerdon_service.core.errors import InvalidInput
from guerdon_training.zero_options import check_recipe, check_zero, unseen, zero_options

T = TypeVar("T")

WAIT = InitProcessGroupKwargs(timeout=timedelta(hours=12))
"""For each other: one process alone asks the reference, measures and writes, longer than the 10 minutes after
which NCCL would give the others up."""


def begin_processes(*, zero: bool = False, **options: Any) -> Accelerator:
    """The processes of this run.

    A process alone may run several recipes, as the pipeline does; each chooses device and precision anew.

    Args:
        zero: whether the recipe trains by `policy.zero` where DeepSpeed is asked for.
        options: of `Accelerator`.

    Raises:
        InvalidInput: see `check_distributed` and `zero_options`.
    """
    if is_initialized() and AcceleratorState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)  # it would refuse other options
    check_recipe(zero)
    with unseen():
        accelerator = Accelerator(kwargs_handlers=[WAIT], **options)
    state = accelerator.state
    if (asked := zero_options()) is not None:
        check_zero(asked, state.mixed_precision)
    if state.distributed_type is DistributedType.MULTI_CPU and parse_flag_from_env("ACCELERATE_USE_FSDP"):
        # accelerate passes over `--use_fsdp` on CPUs without a word, and yet it runs there as elsewhere
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, FullyShardedDataParallelPlugin()
        # as accelerate does: or whoever asks for the state next, as its optimizer does, would undo it
        PartialState._shared_state["distributed_type"] = state.distributed_type
        if state.mixed_precision != "no":
            state.fsdp_plugin.set_mixed_precision(state.mixed_precision)
    plugin = getattr(state, "fsdp_plugin", None)
    check_distributed(state.distributed_type, plugin.fsdp_version if plugin else 2)
    return accelerator


def check_alone() -> None:
    """Refuse several processes to a recipe that shares no work: each would write the same files.

    Raises:
        InvalidInput: they were launched.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InvalidInput(
            "this recipe runs in one process; start it without accelerate launch", param="accelerate"
        )


def load_everywhere() -> None:
    """Have every process read whole weights from their files; under FSDP, one alone would, and send them."""
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"


def shares(step: Sequence[T], process: int, num_processes: int) -> Iterator[tuple[T, float]]:
    """Batches of one process, with weights. All get the same number, as collective operations demand:

    where the batches do not divide, the last ones are given out again with weight 0.
    """
    for first in range(0, len(step), num_processes):
        mine = first + process
        yield (step[mine], 1.0) if mine < len(step) else (step[-1], 0.0)


def check_distributed(kind: DistributedType, fsdp_version: int) -> None:
    """Let one process through, whole copies of the model, one to a process (DDP), and parts of it (FSDP 2).

    Raises:
        InvalidInput: the weights would be sharded in a way that no recipe can train.
    """
    if kind is DistributedType.MEGATRON_LM:
        raise InvalidInput(
            f"accelerate is configured for {kind.value}, which no recipe is tested with; launch with "
            "--use_fsdp --fsdp_version 2 to shard weights, or without for a whole copy to a process (DDP)",
            param="accelerate",
        )
    if kind is DistributedType.FSDP and fsdp_version != 2:
        raise InvalidInput(
            f"accelerate is configured for FSDP {fsdp_version}; launch with --fsdp_version 2",
            param="accelerate",
        )
