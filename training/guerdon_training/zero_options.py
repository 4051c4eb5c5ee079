"""What ``accelerate launch --use_deepspeed`` asks for, and what of it can be had."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accelerate import DeepSpeedPlugin
from accelerate.utils import is_deepspeed_available, parse_flag_from_env

from guerdon_service.core.errors import InvalidInput

ASKED = "ACCELERATE_USE_DEEPSPEED"
STAGES = (1, 2, 3)


def zero_options() -> dict[str, Any] | None:
    """DeepSpeed's ``zero_optimization``, by accelerate's options or the config file; None without DeepSpeed.

    Raises:
        InvalidInput: DeepSpeed is not installed, its options cannot be read, or accelerate did not
            launch this process.
    """
    if not parse_flag_from_env(ASKED):
        return None
    if not is_deepspeed_available():
        raise InvalidInput(
            "accelerate is configured for DeepSpeed, which is not here; pip install 'guerdon[deepspeed]'",
            param="accelerate",
        )
    if "RANK" not in os.environ:
        raise InvalidInput(
            "accelerate is configured for DeepSpeed, and this process was not launched by it; start it with "
            "accelerate launch --use_deepspeed",
            param="accelerate",
        )
    try:
        options = DeepSpeedPlugin().deepspeed_config["zero_optimization"]
    except (ValueError, KeyError) as err:
        raise InvalidInput(
            f"accelerate's options for DeepSpeed cannot be used ({err}); give --zero_stage 1, 2 or 3, or a "
            "--deepspeed_config_file with zero_optimization",
            param="accelerate",
        ) from None
    return {key: value for key, value in options.items() if value != "auto"}


def check_recipe(trains_with_zero: bool) -> None:
    """Refuse DeepSpeed to a recipe that does not train with it.

    Raises:
        InvalidInput: it is asked for.
    """
    if parse_flag_from_env(ASKED) and not trains_with_zero:
        raise InvalidInput(
            "accelerate is configured for DeepSpeed, which this recipe does not train with; launch with "
            "--use_fsdp --fsdp_version 2 to shard weights, or without for a whole copy to a process (DDP)",
            param="accelerate",
        )


def check_zero(options: Mapping[str, Any], mixed_precision: str) -> None:
    """Let through what is tested.

    Raises:
        InvalidInput: the stage, the precision, or where something is to be kept, is not.
    """
    places = [
        (options.get(key) or {}).get("device") or "none" for key in ("offload_optimizer", "offload_param")
    ]
    untested = [key for key in options if key.startswith(("cpu_offload", "zero_quantized")) and options[key]]
    problems = {
        f"--zero_stage is {options.get('stage')}; give 1, 2 or 3, or launch without --use_deepspeed": (
            options.get("stage") not in STAGES
        ),
        f"--mixed_precision is {mixed_precision}; with DeepSpeed give no or bf16": (
            mixed_precision not in ("no", "bf16")
        ),
        "nothing is offloaded here; give none as --offload_optimizer_device and --offload_param_device": (
            any(place != "none" for place in places)
        ),
        f"{', '.join(untested)} of zero_optimization is not tested; leave it out": bool(untested),
    }
    for problem, is_found in problems.items():
        if is_found:
            raise InvalidInput(problem, param="accelerate")


@contextmanager
def unseen() -> Iterator[None]:
    """Within it accelerate starts processes as for DDP.

    Left to itself it would have DeepSpeed step within `backward` on GPUs, and pass over it on CPUs; so both
    go one way, which the tests go on CPUs.
    """
    value = os.environ.pop(ASKED, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[ASKED] = value
