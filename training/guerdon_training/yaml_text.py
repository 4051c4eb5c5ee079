"""YAML 1.2's core schema by PyYAML, which on its own reads ``no`` as false and ``1e-4`` as text."""

import re
from typing import Any

import yaml

_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
"""YAML 1.2.2, section 10.3.2, without octal and hexadecimal numbers."""


class _Loader(yaml.SafeLoader):
    """PyYAML takes its schema from the class, hence one of our own."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for something other than text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}",
            re.compile(f"^(?:{_pattern})$"),
            ["" if c == "\0" else c for c in _first],
        )


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping; a key given twice is refused, where PyYAML keeps the last."""
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str) -> Any:
    """Plain values.

    Raises:
        yaml.YAMLError: it is no YAML, repeats a key, or asks for a Python object.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def yaml_fault(text: str, err: yaml.YAMLError) -> tuple[int, str]:
    """Line of `text`, from 1, on which `parse_yaml` stopped with `err`, and why in one line."""
    if isinstance(err, yaml.reader.ReaderError):  # a character that YAML doesn't take
        return text.count("\n", 0, err.position) + 1, f"{err.reason}: {chr(err.character)!a}"
    assert isinstance(err, yaml.MarkedYAMLError), "PyYAML has no other errors of loading"
    mark, begun = err.problem_mark or err.context_mark, err.context_mark
    why = err.problem or ""
    if err.context and begun:
        why += f", {err.context} that begins on line {begun.line + 1}"
    return mark.line + 1 if mark else 1, why


def dump_yaml(data: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back; tuples become lists."""
    return yaml.dump(_plain(data), Dumper=_Dumper, sort_keys=False, width=110)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
