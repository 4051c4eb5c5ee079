"""The one error tree and the one table that maps it to HTTP and gRPC.

GuerdonError
├── InvalidInput          422  INVALID_ARGUMENT
│   ├── InputTooLong      422  INVALID_ARGUMENT
│   └── TooManyItems      422  INVALID_ARGUMENT
├── Unauthenticated       401  UNAUTHENTICATED
├── PermissionDenied      403  PERMISSION_DENIED
├── UnknownModel          404  NOT_FOUND
├── UnknownEvaluation     404  NOT_FOUND
├── GateRefused           409  FAILED_PRECONDITION
├── PayloadTooLarge       413  RESOURCE_EXHAUSTED
├── UnsupportedMedia      415  INVALID_ARGUMENT
├── Overloaded            429  RESOURCE_EXHAUSTED (with retry_after_ms)
│   └── RateLimited       429  RESOURCE_EXHAUSTED (with retry_after_ms)
├── NotReady              503  UNAVAILABLE
├── DeadlineExceeded      504  DEADLINE_EXCEEDED
└── BackendFailed         500  INTERNAL

Every message names the parameter and the remedy. Inheritance here is the tree itself: catching
`InvalidInput` catches its kinds.
"""

from typing import ClassVar


class GuerdonError(Exception):
    """Base of every error that may leave the service.

    Args:
        message: names the parameter and the remedy; safe to show to a caller.
        param: path of the offending field, e.g. ``items[3].response``; None when no field is to blame.
        retry_after_ms: when to try again, in milliseconds; only where a retry can help.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, param: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_ms = retry_after_ms


class InvalidInput(GuerdonError):
    """A field is missing, unknown, malformed or out of range."""

    code = "invalid_input"
    http_status = 422
    grpc_status = "INVALID_ARGUMENT"


class InputTooLong(InvalidInput):
    """One item is longer than the model or the service accepts."""

    code = "input_too_long"


class TooManyItems(InvalidInput):
    """The request holds more items than `Limits.max_items`."""

    code = "too_many_items"


class Unauthenticated(GuerdonError):
    """No API key, or one that is not known."""

    code = "unauthenticated"
    http_status = 401
    grpc_status = "UNAUTHENTICATED"


class PermissionDenied(GuerdonError):
    """The API key is known but lacks the scope that the route asks for."""

    code = "permission_denied"
    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class UnknownModel(GuerdonError):
    """No model of that name is loaded."""

    code = "unknown_model"
    http_status = 404
    grpc_status = "NOT_FOUND"


class UnknownEvaluation(GuerdonError):
    """No evaluation has that id."""

    code = "unknown_evaluation"
    http_status = 404
    grpc_status = "NOT_FOUND"


class GateRefused(GuerdonError):
    """The promotion gate refused; the message holds each reason."""

    code = "gate_refused"
    http_status = 409
    grpc_status = "FAILED_PRECONDITION"


class PayloadTooLarge(GuerdonError):
    """The body is over `Limits.max_body_bytes`."""

    code = "payload_too_large"
    http_status = 413
    grpc_status = "RESOURCE_EXHAUSTED"


class UnsupportedMedia(GuerdonError):
    """The body is not `application/json`."""

    code = "unsupported_media_type"
    http_status = 415
    grpc_status = "INVALID_ARGUMENT"


class Overloaded(GuerdonError):
    """The queue is full; `retry_after_ms` says when it should have room."""

    code = "overloaded"
    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"


class RateLimited(Overloaded):
    """The API key's rate or quota is spent; `retry_after_ms` says when enough of it is back."""

    code = "rate_limited"


class NotReady(GuerdonError):
    """The model is loading, draining, or failed its certificate."""

    code = "not_ready"
    http_status = 503
    grpc_status = "UNAVAILABLE"


class DeadlineExceeded(GuerdonError):
    """The caller's deadline passed before the forward started."""

    code = "deadline_exceeded"
    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"


class BackendFailed(GuerdonError):
    """The back end raised, or gave NaN or infinity; details are in the log, not on the wire."""

    code = "backend_failed"
    http_status = 500
    grpc_status = "INTERNAL"
