"""Server-sent events (WHATWG HTML, section 9.2), as far as this service writes them."""

import json
from collections.abc import AsyncIterator
from typing import Any

from guerdon.errors import InvalidReply


async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Any]]:
    """Name and JSON data of each event.

    Args:
        lines: of the reply, without their ends.

    Raises:
        InvalidReply: data that is not JSON.
    """
    name, data = "message", ""
    async for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line and data:
            yield name, _parsed(data)
            name, data = "message", ""


def _parsed(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise InvalidReply("an event of the reply is not JSON; is this Guerdon's URL?") from None
