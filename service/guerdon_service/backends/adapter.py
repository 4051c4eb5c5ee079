"""LoRA adapters with their own head: checked, then merged into the base weights."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.one_load import ONE_LOAD

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def merge_adapter(model: PreTrainedModel, folder: Path, missing: frozenset[str]) -> PreTrainedModel:
    """The fp32 model with the adapter's LoRA merged into its weights and the adapter's head in place.

    Args:
        missing: parameters that the base weights lack; the adapter must bring each of them.

    Raises:
        InvalidInput: not a plain LoRA in safetensors, or a head that neither base nor adapter holds: it
            would have been filled at random.
    """
    replaced = _check_config(_read_config(folder))
    needed = {n for n, _ in model.named_parameters() if any(f".{name}." in f".{n}" for name in replaced)}
    lost = sorted((needed | missing) - _tensor_names(folder))
    if lost:
        raise InvalidInput(
            f"adapter holds no {lost[0]}, nor does its base: the head is lost; save the adapter with "
            "modules_to_save naming the head",
            param="source",
        )
    from peft import PeftModel

    try:
        with ONE_LOAD:
            merged = PeftModel.from_pretrained(model, str(folder)).merge_and_unload(safe_merge=True)
    except (RuntimeError, ValueError, KeyError, TypeError) as err:
        raise InvalidInput(f"adapter does not fit its base ({err})", param="source") from err
    return merged  # type: ignore[no-any-return]


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise InvalidInput(
            "adapter_config.json cannot be read; save the adapter again", param="source"
        ) from err
    return data if isinstance(data, dict) else {}


def _check_config(config: dict[str, Any]) -> tuple[str, ...]:
    """Names of the modules that the adapter replaces, some of which the model may not have."""
    if config.get("peft_type") != "LORA":
        raise InvalidInput(
            f"adapter_config.json: peft_type {config.get('peft_type')!r} is not served; use LORA",
            param="source",
        )
    if config.get("megatron_config"):  # names a Python module to import
        raise InvalidInput("adapter_config.json: megatron_config is refused; remove it", param="source")
    implied = ("classifier", "score") if config.get("task_type") == "SEQ_CLS" else ()  # peft adds them
    return (*(config.get("modules_to_save") or ()), *implied)


def _tensor_names(folder: Path) -> frozenset[str]:
    path = folder / _WEIGHTS
    if not path.is_file():
        raise InvalidInput(f"adapter holds no {_WEIGHTS}; pickled weights are refused", param="source")
    try:
        with safe_open(path, framework="pt") as tensors:
            return frozenset(name.removeprefix(_PREFIX) for name in tensors.keys())  # noqa: SIM118 - not a dict
    except SafetensorError as err:
        raise InvalidInput(f"{_WEIGHTS} is damaged ({err}); copy it again", param="source") from err
