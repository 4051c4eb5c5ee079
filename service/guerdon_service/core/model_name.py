"""Names under which models are served."""

import re

from guerdon_service.core.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def split_reference(reference: str) -> tuple[str, str]:
    """``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS`` in two; the second part is empty for a bare name."""
    name, _, ref = reference.partition("@")
    return name, ref


def name_from(text: str) -> str:
    """A name that `check_model_name` lets through, like the last part of a path or hub id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64] or "model"


def check_model_name(name: str, param: str) -> str:
    """`name` itself: it must be usable in a URL, a metric's label and a variable's name.

    Raises:
        InvalidInput: anything but 1 to 64 ASCII letters, digits, ``.``, ``_`` and ``-``.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{param} is {name[:80]!r}; use 1 to 64 ASCII letters, digits, '.', '_' and '-', the first a "
            "letter or digit",
            param=param,
        )
    return name
