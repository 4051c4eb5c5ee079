"""The bodies of all requests at work, bounded together."""

from dataclasses import dataclass

from starlette.types import Message, Receive

from guerdon_service.core.at_work import counted_bytes, largest_bytes
from guerdon_service.core.errors import Overloaded

MOST_BODIES = 32
"""Of the largest size, what the bodies of all requests at work hold together, as messages of gRPC do."""
RETRY_AFTER_MS = 1000
"""Nobody knows when others will have been answered."""


@dataclass(slots=True)
class Bodies:
    """Counts the bytes of every body that is not small until its request is answered.

    max_body_bytes: of one.
    """

    max_body_bytes: int
    num_bytes: int = 0

    @property
    def are_too_large(self) -> bool:
        """Together."""
        return self.num_bytes > MOST_BODIES * largest_bytes(self.max_body_bytes)


@dataclass(slots=True)
class Counted:
    """The messages of one request, of which `bodies` counts the bytes until it is `over`."""

    wire: Receive
    bodies: Bodies
    num_bytes: int = 0

    async def receive(self) -> Message:
        """The next message; raises `Overloaded` where it is too much beside all others."""
        message = await self.wire()
        if body := message.get("body"):
            before, self.num_bytes = self.num_bytes, self.num_bytes + len(body)
            more = counted_bytes(self.num_bytes) - counted_bytes(before)
            self.bodies.num_bytes += more
            if more and self.bodies.are_too_large:
                raise Overloaded(
                    "bodies of requests at work are too large together; send fewer at once",
                    retry_after_ms=RETRY_AFTER_MS,
                )
        return message

    def over(self) -> None:
        """The request is answered."""
        self.bodies.num_bytes -= counted_bytes(self.num_bytes)
