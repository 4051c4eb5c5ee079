"""Server-sent events (WHATWG HTML, section 9.2), as far as this service writes them."""

import json
from collections.abc import AsyncIterator
from typing import Any

from guerdon.errors import InvalidReply


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, Any]]:
    """Name and JSON data of each event.

    Args:
        chunks: of the reply, cut anywhere.

    Raises:
        InvalidReply: data that is not JSON.
    """
    name, data = "message", b""
    async for line in _lines(chunks):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode(errors="replace")
        elif field == b"data":
            data += value
        elif not line and data:
            yield name, _parsed(data)
            name, data = "message", b""


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Ended by a line feed alone: a text may hold what Unicode, and httpx, take for the end of a line."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise InvalidReply("an event of the reply is not JSON; is this Guerdon's URL?") from None
