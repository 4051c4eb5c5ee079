"""A YAML file as frozen dataclasses; unknown keys are refused with the nearest known name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from guerdon_service.core.errors import InvalidInput
from guerdon_training.yaml_text import dump_yaml, parse_yaml, yaml_fault

T = TypeVar("T")
_YAML_NAMES = {tuple: "list", Mapping: "table"}


def read_config(path: Path, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Parse `path` into the dataclass `kind`.

    Args:
        path: a YAML file.
        overrides: ``a.b=value`` each, the value in YAML; they replace what the file says.

    Raises:
        InvalidInput: the file is missing or malformed; keys are unknown or missing, all of which are told; a
            value is of the wrong type.
    """
    return build_config(kind, override(read_mapping(path), overrides))


def read_mapping(path: Path) -> dict[str, Any]:
    """What the file says, as plain values.

    Raises:
        InvalidInput: it is missing, malformed or no mapping.
    """
    if not path.is_file():
        raise InvalidInput(f"config {path} does not exist; give the path of a YAML file", param="config")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise InvalidInput(
            f"config {path}:{line} is not UTF-8; save the file as UTF-8", param="config"
        ) from None
    try:
        data = parse_yaml(text)
    except yaml.YAMLError as err:
        line, why = yaml_fault(text, err)
        raise InvalidInput(f"config {path}:{line} is not YAML ({why}); fix it", param="config") from None
    if not isinstance(data, dict):
        raise InvalidInput(f"config {path} must hold `key: value` lines; add them", param="config")
    return data


def override(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`data` with each ``a.b=value`` in its place; a number in the key is a position in a list.

    No value is the empty text: a shell makes that of ``a.b=''``.

    Raises:
        InvalidInput: one that is not of this form, or whose key leads through a plain value.
    """
    changed: dict[str, Any] = dict(data)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise InvalidInput(f"--set {text} is not KEY=VALUE; write e.g. optim.epochs=2", param="set")
        try:
            plain = parse_yaml(value) if value.strip() else ""
            changed = _replaced(changed, key.split("."), plain, key)
        except yaml.YAMLError as err:
            _, why = yaml_fault(value, err)
            raise InvalidInput(
                f"--set {text}: the value is not YAML ({why}); quote it", param="set"
            ) from None
    return changed


def build_config(kind: type[T], data: Mapping[str, Any], made: Collection[str] = ()) -> T:
    """Plain values as the dataclass `kind`.

    Args:
        made: keys of `data` whose tables nobody wrote; what is unknown or missing in them is told of the
            table that they are made from.

    Raises:
        InvalidInput: keys are unknown or missing, all of which are told; or a value is of the wrong type.
    """
    problems = [p for p in _key_problems(kind, data, "") if p.key.split(".")[0] not in made]
    _refuse(problems)
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
    hints, prefix = get_type_hints(kind), _prefix(where)
    return kind(**{k: _build(hints[k], v, prefix + k) for k, v in value.items()})


@dataclass(frozen=True, slots=True)
class _Problem:
    """A key that is unknown, with the nearest known name, or missing, without one."""

    key: str
    near: str = ""


def _key_problems(kind: Any, value: Any, where: str) -> Iterator[_Problem]:
    """Of all tables in `value`, in order, what a table misses last; wrong types are left to `_build`."""
    args = get_args(kind)
    if get_origin(kind) is tuple and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _key_problems(args[0], item, f"{where}[{i}]")
    elif get_origin(kind) is Mapping and isinstance(value, dict):
        for key, item in value.items():
            yield from _key_problems(args[1], item, f"{where}.{key}")
    elif is_dataclass(kind) and isinstance(value, dict):
        known, hints, prefix = {f.name: f for f in fields(kind)}, get_type_hints(kind), _prefix(where)
        for key, item in value.items():
            if key in known:
                yield from _key_problems(hints[key], item, prefix + key)
            else:
                yield _Problem(f"{prefix}{key}", get_close_matches(str(key), known, n=1, cutoff=0.0)[0])
        for name, f in known.items():
            if name not in value and f.default is MISSING and f.default_factory is MISSING:
                yield _Problem(prefix + name)


def _prefix(where: str) -> str:
    return f"{where}." if where else ""


def _refuse(problems: Sequence[_Problem]) -> None:
    if problems:
        unknown = [f"config {p.key} is unknown; did you mean {p.near}?" for p in problems if p.near]
        missing = [p.key for p in problems if not p.near]
        message = " ".join([*unknown, *([missing_message(missing)] if missing else [])])
        raise InvalidInput(message, param=problems[0].key)


def missing_message(keys: Sequence[str]) -> str:
    """That the config lacks `keys`, at least one."""
    verb, them = ("is", "it") if len(keys) == 1 else ("are", "them")
    return f"config {', '.join(keys)} {verb} missing; add {them}"
