"""What a model folder may make the service do: hold data. Never run code.

Weights are safetensors only, because a pickle runs code when it is read. `config.json` is parsed here
against an allow-list, and `auto_map`, which names Python files of the folder, is dropped before
`transformers` sees it.
"""

import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from guerdon_service.backends.families import FAMILIES, check_attention, family_of
from guerdon_service.core.errors import InvalidInput

_SUFFIXES = ("ForSequenceClassification", "Model", "ForCausalLM", "ForMaskedLM", "ForPreTraining")
_DROPPED = ("auto_map", "attn_implementation", "_attn_implementation", "num_labels", "id2label", "label2id")
_INDEX = "model.safetensors.index.json"


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a model folder.

    Raises:
        InvalidInput: there are none (pickles are not read), or the index names a file hidden or elsewhere.
    """
    single = folder / "model.safetensors"
    if single.is_file():
        return (single,)
    if not (folder / _INDEX).is_file():
        raise _refused(
            "source holds no model.safetensors; pickled weights (.bin, .pt) can run code and are refused: "
            "convert them with save_pretrained(..., safe_serialization=True)"
        )
    names = sorted({str(name) for name in _read_json(folder / _INDEX).get("weight_map", {}).values()})
    for name in names:
        # hidden files are in no digest, so weights in one could be swapped under it
        if Path(name).name != name or name.startswith(".") or not name.endswith(".safetensors"):
            raise _refused(f"{_INDEX} names {name!r}; name safetensors files of this folder, none hidden")
    return tuple(folder / name for name in names)


def read_config(folder: Path, num_labels: int) -> PreTrainedConfig:
    """Configuration of an allowed architecture, with `num_labels` outputs.

    Raises:
        InvalidInput: unreadable, not on the allow-list, quantised, or attention turned around.
    """
    data = _read_json(folder / "config.json")
    _check_architecture(data)
    kept = {key: value for key, value in data.items() if key not in _DROPPED}
    try:
        config = CONFIG_MAPPING[data["model_type"]].from_dict(kept | {"num_labels": num_labels})
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as err:
        raise _refused(f"config.json cannot be read ({type(err).__name__}: {err}); save it again") from err
    check_attention(config, family_of(config))
    return config


def _check_architecture(data: dict[str, Any]) -> None:
    model_type = data.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        known = ", ".join(FAMILIES)
        raise _refused(f"config.json: model_type {model_type!r} is not served; use one of {known}")
    allowed = {family.prefix + text + suffix for text in ("", "Text") for suffix in _SUFFIXES}
    for name in data.get("architectures") or ():
        if name not in allowed:
            remedy = f"use {family.prefix}ForSequenceClassification"
            raise _refused(f"config.json: architecture {name!r} is not served; {remedy}")
    if "quantization_config" in data:
        raise _refused("config.json: quantization_config is not served; save plain weights")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise _refused(f"{path.name} cannot be read ({type(err).__name__}); save the model again") from err
    if not isinstance(data, dict):
        raise _refused(f"{path.name} is not a JSON object; save the model again")
    return data


def _refused(message: str) -> InvalidInput:
    return InvalidInput(message, param="source")
