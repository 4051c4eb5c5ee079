"""One header of a request."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of the lower-case `name`; None when absent."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
