"""What stands in front of every gRPC method: who calls, and how a caller is told why not."""

from dataclasses import dataclass

from guerdon_service.core.auth import NOBODY, Caller, Keyring
from guerdon_service.core.call import request_id
from guerdon_service.core.errors import GuerdonError
from guerdon_service.rpc.context import metadata_text
from guerdon_service.rpc.failure import refused
from guerdon_service.rpc.http2.head import Head
from guerdon_service.rpc.http2.messages import Refused

OPEN_PREFIX = "/grpc.health.v1.Health/"
"""All that an unknown caller may ask."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Refuses callers without a known key before any handler, reflection's included, is found.

    Args:
        open_methods: paths that an unknown caller may ask besides `OPEN_PREFIX`.
    """

    auth: Keyring
    open_methods: frozenset[str] = frozenset()

    def is_open(self, path: str) -> bool:
        """Whether an unknown caller may ask it."""
        return path.startswith(OPEN_PREFIX) or path in self.open_methods

    def __call__(self, head: Head) -> Caller:
        """Who calls, by the ``authorization`` metadata; nobody, where no key is asked for.

        Raises:
            Unauthenticated: no known key.
        """
        if self.is_open(head.path):
            return NOBODY
        return self.auth.authenticate(metadata_text(head.metadata, "authorization"))


def tell(head: Head, error: GuerdonError) -> Refused:
    """How a caller whom no handler has seen is told of an error: as by a handler."""
    return refused(error, request_id(metadata_text(head.metadata, "x-request-id")))
