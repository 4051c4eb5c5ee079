"""What is stored as JSON to its dataclass."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def decoded(kind: type[T], body: Mapping[str, Any]) -> T:
    """A `kind` of what was kept of it. What a newer replica keeps besides is left out: while versions change,
    both write.
    """
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in body.items() if name in names})
