"""One of the models that a service holds."""

from collections.abc import Sequence

from guerdon.errors import UnknownModel
from guerdon.types import ModelInfo


def find_model(known: Sequence[ModelInfo], name: str | None) -> ModelInfo:
    """The one of a name; the default one for None.

    Raises:
        UnknownModel: there is none.
    """
    for info in known:
        if info.name == name or (name is None and info.default):
            return info
    names = ", ".join(info.name for info in known) or "none"
    raise UnknownModel(f"model {name!r} is not loaded; loaded are: {names}", param="model")
