"""Settings from their sources: flags over ``GUERDON_*`` variables over a TOML file over defaults."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from guerdon_service.app.settings import (
    ApiKeySettings,
    JudgeSettings,
    ModelSettings,
    PolicySettings,
    Settings,
    ShadowSettings,
)
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.registry.policy import GatePolicy

PREFIX = "GUERDON_"
CLIENT_VARIABLES = frozenset(
    {
        "GUERDON_URL",
        "GUERDON_API_KEY",
        "GUERDON_CLIENT_TLS_CA",
        "GUERDON_CLIENT_TLS_CERTIFICATE",
        "GUERDON_CLIENT_TLS_KEY",
    }
)
"""What the client's command line reads; a machine may set them for both."""

_SERVICE_LINK = re.compile(
    PREFIX + r"([A-Z0-9]+_)*(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)="
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|PORT=(tcp|udp|sctp)://)"
)
"""``VARIABLE=value`` as Kubernetes tells pods of a service whose name begins with ``guerdon``."""

SINGULAR = {"models": "model", "policies": "policy", "judges": "judge", "dialects": "dialect"}
"""Flags that are given once for each entry of a setting, by its name."""

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Nested settings and how to name one of them to an operator."""

    values: Tree
    label: str
    """A pattern with ``{dotted}``, ``{flag}`` or ``{variable}``."""

    def name(self, path: tuple[str, ...]) -> str:
        """How the operator wrote the setting at `path`."""
        return self.label.format(
            dotted=".".join(path),
            flag=_flag(path),
            variable="__".join(path).upper(),
        )


def _flag(path: tuple[str, ...]) -> str:
    """``model``; ``policy far`` of one entry, ``policy far (url)`` of a part of it."""
    first, *entry = path
    parts = [SINGULAR.get(first, first).replace("_", "-"), *entry[:1]]
    return " ".join([*parts, f"({'.'.join(entry[1:])})"] if entry[1:] else parts)


def load_settings(flags: Tree, environ: Mapping[str, str], config: Path | None) -> Settings:
    """Merge the sources, later ones winning key by key, and check the whole.

    Args:
        flags: nested values of the flags that were given.

    Raises:
        InvalidInput: an unknown name (with the nearest known one), or a value that cannot be; it is named
            as the operator wrote it.
    """
    sources = [Source(read_variables(environ), PREFIX + "{variable}"), Source(flags, "--{flag}")]
    if config is not None:
        sources.insert(0, Source(read_file(config), f"{{dotted}} in {config.name}"))
    merged: Tree = {}
    for source in sources:
        merge(merged, source.values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise _refusal(error, sources) from None


def read_file(path: Path) -> Tree:
    """A TOML file.

    Raises:
        InvalidInput: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(
            f"config {path} cannot be read: {error}; give a TOML file", param="config"
        ) from None


def read_variables(environ: Mapping[str, str]) -> Tree:
    """``GUERDON_A__B=x`` as ``{"a": {"b": "x"}}``; a value that begins with ``{`` or ``[`` is JSON.

    What the client reads, and what Kubernetes writes for its services, is left alone.

    Raises:
        InvalidInput: malformed JSON.
    """
    values: Tree = {}
    for variable in sorted(environ):
        if _is_setting(variable, environ[variable]):
            *parents, name = variable.removeprefix(PREFIX).lower().split("__")
            leaf: Tree = {name: _value(variable, environ[variable])}
            for parent in reversed(parents):
                leaf = {parent: leaf}
            merge(values, leaf)
    return values


def merge(into: Tree, values: Tree) -> None:
    """Lay `values` over `into`, table by table."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, dict) else value


def _is_setting(variable: str, text: str) -> bool:
    is_ours = variable.startswith(PREFIX) and variable not in CLIENT_VARIABLES
    return is_ours and _SERVICE_LINK.match(f"{variable}={text}") is None


def _value(variable: str, text: str) -> Any:
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{variable} is not JSON: {error}; correct it", param=variable) from None


def _refusal(error: ValidationError, sources: list[Source]) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in first["loc"])
    # a list is told as a whole, and a table's bad key by itself
    is_part = bool(path) and (isinstance(first["loc"][-1], int) or path[-1] == "[key]")
    entry = path[:-1] if is_part else path
    name = next(
        (s.name(entry) for s in reversed(sources) if entry and _holds(s.values, entry)), ".".join(entry)
    )
    if first["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        # The value is not repeated: it may be a secret.
        reason = first["msg"].removeprefix("Value error, ") + _remedy(first["type"], first["input"], name)
        return InvalidInput(f"{name} cannot be used: {reason}" if name else reason, param=name or None)
    known = sorted(_known(path))
    near = get_close_matches(path[-1], known, n=1, cutoff=0.0)[0]
    return InvalidInput(
        f"{name} is no setting; did you mean {near}? Known are {', '.join(known)}", param=name
    )


def _remedy(kind: str, value: Any, name: str) -> str:
    """How to write several values, where one text holds them."""
    if kind in ("tuple_type", "frozen_set_type"):
        return '; write a list, ["A", "B"]'
    if name.startswith("--") and isinstance(value, str) and "," in value:
        return f"; give {name.split()[0]} once for each"
    return ""


def _holds(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _known(path: tuple[str, ...]) -> list[str]:
    """Names beside which `path`'s last part stands."""
    if len(path) == 2:
        bounds = {"limits": Limits.__dataclass_fields__, "gate": GatePolicy.__dataclass_fields__}
        return list(bounds.get(path[0], ShadowSettings.model_fields))
    tables: dict[str, type[BaseModel]] = {
        "models": ModelSettings,
        "policies": PolicySettings,
        "judges": JudgeSettings,
        "api_keys": ApiKeySettings,
    }
    return list((tables[path[0]] if len(path) == 3 else Settings).model_fields)
