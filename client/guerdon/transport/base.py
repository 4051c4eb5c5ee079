"""The seam between the client and a wire."""

from typing import Any, Literal, Protocol

Verb = Literal["score", "compare", "rank", "models", "load_model", "unload_model"]
Payload = dict[str, Any]
"""JSON-ready; field names equal the REST interface's, which equal the proto's."""


class Transport(Protocol):
    """One request, one answer. Holds connections, knows neither retries nor chunks."""

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        """Send one request and return its answer as REST's JSON would give it.

        Args:
            timeout_s: the caller cancels after it; pass it on where the wire can carry it.

        Raises:
            GuerdonError: what the service answered, or `ConnectionFailed`.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
