"""JSON bytes to Python values, refusing everything that two readers could read differently."""

import json
from collections.abc import Sequence
from typing import NoReturn

from guerdon_service.core.errors import InvalidInput


def parse_json(body: bytes, name: str = "body") -> object:
    """Parse one JSON document; `name` is what its sender calls it.

    Raises:
        InvalidInput: not UTF-8, malformed (with the position), a duplicate key, NaN or an infinity, or
            nested so deep that it can't be read.
    """
    try:
        value: object = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise InvalidInput(f"{name} is not UTF-8 at byte {err.start}; send UTF-8", param=name) from None
    except json.JSONDecodeError as err:
        raise InvalidInput(
            f"{name} is not JSON: {err.msg} at line {err.lineno} column {err.colno}; send one JSON object",
            param=name,
        ) from None
    except ValueError:
        raise InvalidInput(
            f"{name} holds a number that is too long to read; shorten it", param=name
        ) from None
    except RecursionError:
        raise InvalidInput(f"{name} is nested too deep to be read; send flat JSON", param=name) from None
    return value


def check_depth(value: object, max_depth: int) -> None:
    """Refuse values nested deeper than `max_depth` arrays and objects.

    No request needs more than five levels, so this runs only to name the reason of a refusal.

    Raises:
        InvalidInput: it is deeper.
    """
    layer = [value]
    for _ in range(max_depth + 1):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return
    raise InvalidInput(f"body is nested deeper than {max_depth} levels; send flat JSON", param="body")


def _children(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return tuple(value.values())
    return value if isinstance(value, list) else ()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise InvalidInput(f"{name!r} is given twice in one object; give it once", param=name)
            seen.add(name)
    return fields


def _constant(name: str) -> NoReturn:
    raise InvalidInput(f"body holds {name}, which is not JSON; send finite numbers", param="body")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
