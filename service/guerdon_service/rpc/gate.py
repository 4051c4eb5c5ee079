"""What stands in front of every gRPC method: authentication, but for health, and the size of a message."""

from dataclasses import dataclass

from guerdon_service.core.auth import Keyring
from guerdon_service.core.call import request_id
from guerdon_service.core.errors import PayloadTooLarge, Unauthenticated
from guerdon_service.rpc.context import metadata_text
from guerdon_service.rpc.failure import refused
from guerdon_service.rpc.http2 import messages
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
            raise refused(error, _request_id(head)) from None


def too_large(head: Head, num_bytes: int, max_bytes: int) -> messages.Refused:
    """`messages.too_large`, told as every error of the service is."""
    told = messages.too_large(head, num_bytes, max_bytes)
    return refused(PayloadTooLarge(told.details, param="message"), _request_id(head))


def _request_id(head: Head) -> str:
    return request_id(metadata_text(head.metadata, "x-request-id"))
