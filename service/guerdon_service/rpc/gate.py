"""Authentication in front of every gRPC method but health."""

from dataclasses import dataclass

from guerdon_service.core.auth import Keyring
from guerdon_service.core.call import request_id
from guerdon_service.core.errors import Unauthenticated
from guerdon_service.rpc.context import metadata_text
from guerdon_service.rpc.failure import refused
from guerdon_service.rpc.http2.head import Head

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

    def __call__(self, head: Head) -> None:
        """Raises `Refused` where the head has no known key."""
        if self.is_open(head.path):
            return
        try:
            self.auth.authenticate(metadata_text(head.metadata, "authorization"))
        except Unauthenticated as error:
            raise refused(error, request_id(metadata_text(head.metadata, "x-request-id"))) from None
