"""How the stages connect: which folder and which half of the data each one gets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config_file import build_config, missing_message
from guerdon_training.pipeline.config import PipelineConfig

SECTIONS = ("sft", "reward", "dpo", "ppo", "compare")


def half(output: str, name: str, split: str) -> str:
    """File of one half (``a`` trains, ``b`` judges) of one split of the pairs."""
    return (Path(output) / "halves" / f"{name}_{split}.jsonl.gz").as_posix()


def wire(data: Mapping[str, Any]) -> PipelineConfig:
    """A pipeline's file as one typed config.

    Everything but the gold model learns from half a alone. Name, version, seed and data files of a stage are
    filled in where its section leaves them out; folders and artifacts always are.

    Raises:
        InvalidInput: a key is unknown, missing, of the wrong type, or one that the pipeline itself fills in.
    """
    needed = ("name", "output", "version", "seed", "pairs", *SECTIONS)
    missing = [key for key in needed if not data.get(key) and data.get(key) != 0]
    if missing:
        raise InvalidInput(missing_message(missing), param=missing[0])
    if "gold" in data:
        raise InvalidInput(
            "config gold is made by the pipeline, as reward on the other half; remove it", param="gold"
        )
    output, test = str(data["output"]), data["pairs"].get("test")
    folder = {name: (Path(output) / name).as_posix() for name in ("sft", "reward", "gold", "dpo", "ppo")}
    of_half = {
        name: {"train": half(output, name, "train"), "valid": half(output, name, "valid"), "test": test}
        for name in ("a", "b")
    }
    prompts = {"train": half(output, "a", "train"), "valid": half(output, "a", "valid")}
    forced: dict[str, dict[str, Any]] = {
        "sft": {"output": folder["sft"]},
        "reward": {"output": folder["reward"], "data": of_half["a"]},
        "dpo": {"output": folder["dpo"], "base": folder["sft"]},
        "ppo": {"output": folder["ppo"], "base": folder["sft"]},
        "compare": {},
    }
    wired = {name: _section(name, data, forced[name]) for name in SECTIONS}
    wired["dpo"]["data"] = of_half["a"] | _mapping("dpo.data", wired["dpo"].get("data", {}))
    wired["ppo"]["data"] = prompts | _mapping("ppo.data", wired["ppo"].get("data", {}))
    profile = _mapping("ppo.reward", wired["ppo"].get("reward", {}))
    wired["ppo"]["reward"] = profile | {"artifacts": [folder["reward"]]}
    wired["ppo"]["gold"] = {"profile": profile.get("profile", ""), "artifacts": [folder["gold"]]}
    gold = wired["reward"] | {
        "name": f"{data['name']}-gold",
        "output": folder["gold"],
        "data": of_half["b"],
        "seed": wired["reward"]["seed"] + 1,
    }
    return build_config(PipelineConfig, {"card": {}} | dict(data) | wired | {"gold": gold}, made=("gold",))


def _section(name: str, data: Mapping[str, Any], forced: Mapping[str, Any]) -> dict[str, Any]:
    given = _mapping(name, data[name])
    for key in forced:
        if key in given:
            raise InvalidInput(
                f"config {name}.{key} is filled in by the pipeline; remove it", param=f"{name}.{key}"
            )
    if name == "compare":
        return {"seed": data["seed"]} | given
    named = {"name": f"{data['name']}-{name}", "version": data["version"], "seed": data["seed"]}
    return named | given | dict(forced)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"config {name} must be a table, not {value!r}", param=name)
    return value
