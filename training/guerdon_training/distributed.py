"""How the processes of ``accelerate launch`` may share a run."""

from typing import Any

from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState, is_initialized

from guerdon_service.core.errors import InvalidInput

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


def begin_processes(**options: Any) -> Accelerator:
    """The processes of this run.

    A process alone may run several recipes, as the pipeline does; each chooses device and precision anew.

    Args:
        options: of `Accelerator`.

    Raises:
        InvalidInput: see `check_distributed`.
    """
    if is_initialized() and AcceleratorState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)  # it would refuse other options
    accelerator = Accelerator(**options)
    check_distributed(accelerator.distributed_type)
    return accelerator


def check_distributed(kind: DistributedType) -> None:
    """Let whole copies of the model through, one to a process (DDP), or one process.

    Raises:
        InvalidInput: the weights would be sharded, and what a recipe saves would not be them.
    """
    if kind in SHARDED:
        raise InvalidInput(
            f"accelerate is configured for {kind.value}, which shards weights, and the recipes save whole "
            "ones; launch without --use_fsdp and --use_deepspeed (DDP)",
            param="accelerate",
        )
