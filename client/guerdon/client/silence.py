"""A stream's next part, unless it keeps silent for too long."""

import asyncio
from collections.abc import AsyncGenerator

from guerdon.transport import Payload


class Silent(Exception):
    """No part came in time."""


async def next_part(parts: AsyncGenerator[Payload], timeout_s: float) -> Payload | None:
    """The next part; None where there is none.

    Raises:
        Silent: it did not come within `timeout_s`, and the stream is of no more use.
    """
    silence = asyncio.timeout(timeout_s)
    try:
        async with silence:
            return await anext(parts, None)
    except TimeoutError:
        if silence.expired():
            raise Silent from None
        raise
