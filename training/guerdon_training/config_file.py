"""A YAML file as frozen dataclasses; unknown keys are refused with the nearest known name."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from guerdon_service.core.errors import InvalidInput
from guerdon_training.yaml_text import dump_yaml, parse_yaml

T = TypeVar("T")
_YAML_NAMES = {tuple: "list", Mapping: "table"}


def read_config(path: Path, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Parse `path` into the dataclass `kind`.

    Args:
        path: a YAML file.
        overrides: ``a.b=value`` each, the value in YAML; they replace what the file says.

    Raises:
        InvalidInput: the file is missing or malformed; a key is unknown, missing or of the wrong type.
    """
    return build_config(kind, override(read_mapping(path), overrides))


def read_mapping(path: Path) -> dict[str, Any]:
    """What the file says, as plain values.

    Raises:
        InvalidInput: it is missing, malformed or no mapping.
    """
    if not path.is_file():
        raise InvalidInput(f"config {path} does not exist; give the path of a YAML file", param="config")
    try:
        data = parse_yaml(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise InvalidInput(f"config {path} is not YAML: {err}; fix it", param="config") from None
    if not isinstance(data, dict):
        raise InvalidInput(f"config {path} must hold `key: value` lines; add them", param="config")
    return data


def override(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`data` with each ``a.b=value`` in its place; a number in the key is a position in a list.

    Raises:
        InvalidInput: one that is not of this form, or whose key leads through a plain value.
    """
    changed: dict[str, Any] = dict(data)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise InvalidInput(f"--set {text} is not KEY=VALUE; write e.g. optim.epochs=2", param="set")
        try:
            changed = _replaced(changed, key.split("."), parse_yaml(value), key)
        except yaml.YAMLError as err:
            raise InvalidInput(
                f"--set {text}: the value is not YAML ({err}); quote it", param="set"
            ) from None
    return changed


def build_config(kind: type[T], data: Mapping[str, Any]) -> T:
    """Plain values as the dataclass `kind`.

    Raises:
        InvalidInput: a key is unknown, missing or of the wrong type.
    """
    built: T = _build(kind, data, "")
    return built


def config_yaml(config: Any) -> str:
    """A config as the YAML that `read_config` reads back, every default written out."""
    return dump_yaml(asdict(config))


def _replaced(data: Any, keys: Sequence[str], value: Any, where: str) -> Any:
    if not keys:
        return value
    if isinstance(data, list) and keys[0].isdecimal() and int(keys[0]) < len(data):
        place = int(keys[0])
        return [_replaced(v, keys[1:], value, where) if i == place else v for i, v in enumerate(data)]
    if not isinstance(data, dict | None):
        raise InvalidInput(f"--set {where} leads nowhere at {keys[0]}; check the key", param="set")
    known = data or {}
    return known | {keys[0]: _replaced(known.get(keys[0]), keys[1:], value, where)}


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a dataclass, a tuple, a mapping or a plain type."""
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {k: _build(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin in (tuple, Mapping, UnionType) or type(value) is not kind:
        wanted = _YAML_NAMES.get(origin) or getattr(origin or kind, "__name__", str(kind))
        raise InvalidInput(f"config {where} must be a {wanted}, not {value!r}", param=where)
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidInput(f"config {where} must be a table, not {value!r}", param=where)
    known = {f.name: f for f in fields(kind)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise InvalidInput(
                f"config {prefix}{key} is unknown; did you mean {near}?", param=f"{prefix}{key}"
            )
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise InvalidInput(f"config {prefix}{name} is missing; add it", param=prefix + name)
    hints = get_type_hints(kind)
    return kind(**{k: _build(hints[k], v, prefix + k) for k, v in value.items()})
