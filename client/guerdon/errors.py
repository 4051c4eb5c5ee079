"""What a call can raise: one tree that mirrors the service's error codes.

GuerdonError
├── InvalidInput          invalid_input
│   ├── InputTooLong      input_too_long
│   └── TooManyItems      too_many_items
├── Unauthenticated       unauthenticated
├── PermissionDenied      permission_denied
├── UnknownModel          unknown_model
├── UnknownEvaluation     unknown_evaluation
├── GateRefused           gate_refused
├── PayloadTooLarge       payload_too_large
├── UnsupportedMedia      unsupported_media_type
├── Overloaded            overloaded            retried
│   └── RateLimited       rate_limited          retried
├── NotReady              not_ready             retried
├── DeadlineExceeded      deadline_exceeded
├── BackendFailed         backend_failed
├── ConnectionFailed      connection_failed     retried; the service was not reached, or hung up
├── InvalidReply          invalid_reply         the answer is not Guerdon's
└── ModelChanged          model_changed         the parts of one call were scored by different models
"""

from typing import ClassVar


class GuerdonError(Exception):
    """Base of every error that a call raises.

    Attributes:
        message: names the parameter and the remedy.
        param: path of the offending field in the caller's own list, e.g. ``items[300].response``.
        retry_after_s: when the service expects to have room again, in seconds.
        retryable: False when a retry cannot help, or when the service asked not to retry.
        items: which items of a long list failed; None when the call was not split.
    """

    code: ClassVar[str] = "internal"
    may_retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.retryable = retryable and self.may_retry
        self.items: range | None = None

    def __str__(self) -> str:
        """The message, and which items failed."""
        if self.items is None:
            return self.message
        return f"{self.message} (items {self.items.start} to {self.items.stop - 1})"


class InvalidInput(GuerdonError):
    """A field is missing, unknown, malformed or out of range."""

    code = "invalid_input"


class InputTooLong(InvalidInput):
    """One item is longer than the model or the service accepts."""

    code = "input_too_long"


class TooManyItems(InvalidInput):
    """One request holds more items than the service accepts; a smaller `chunk_size` helps."""

    code = "too_many_items"


class Unauthenticated(GuerdonError):
    """No API key, or one that is not known."""

    code = "unauthenticated"


class PermissionDenied(GuerdonError):
    """The API key is known but lacks the scope."""

    code = "permission_denied"


class UnknownModel(GuerdonError):
    """No model of that name is loaded."""

    code = "unknown_model"


class UnknownEvaluation(GuerdonError):
    """No evaluation has that id."""

    code = "unknown_evaluation"


class GateRefused(GuerdonError):
    """The promotion gate refused; the message holds each reason."""

    code = "gate_refused"


class PayloadTooLarge(GuerdonError):
    """One request is over the service's body limit."""

    code = "payload_too_large"


class UnsupportedMedia(GuerdonError):
    """The body was not taken as JSON; something between client and service rewrote it."""

    code = "unsupported_media_type"


class Overloaded(GuerdonError):
    """The queue is full; `retry_after_s` says when it should have room."""

    code = "overloaded"
    may_retry = True


class RateLimited(Overloaded):
    """The API key's rate or quota is spent; `retry_after_s` says when enough of it is back."""

    code = "rate_limited"


class NotReady(GuerdonError):
    """The model is loading, draining, or failed its certificate."""

    code = "not_ready"
    may_retry = True


class DeadlineExceeded(GuerdonError):
    """The call's deadline, or one request's `timeout_s`, passed before the answer came."""

    code = "deadline_exceeded"


class BackendFailed(GuerdonError):
    """The model failed, or gave NaN or infinity; the service's log has the details."""

    code = "backend_failed"


class ConnectionFailed(GuerdonError):
    """The service could not be reached, or hung up before it answered."""

    code = "connection_failed"
    may_retry = True


class InvalidReply(GuerdonError):
    """The answer is not one that Guerdon gives; is this the right URL?"""

    code = "invalid_reply"


class ModelChanged(GuerdonError):
    """Parts of one call were scored by different models, so their rewards cannot be compared."""

    code = "model_changed"


_ALL: tuple[type[GuerdonError], ...] = (
    InvalidInput,
    InputTooLong,
    TooManyItems,
    Unauthenticated,
    PermissionDenied,
    UnknownModel,
    UnknownEvaluation,
    GateRefused,
    PayloadTooLarge,
    UnsupportedMedia,
    Overloaded,
    RateLimited,
    NotReady,
    DeadlineExceeded,
    BackendFailed,
    ConnectionFailed,
    InvalidReply,
    ModelChanged,
)
_BY_CODE = {error.code: error for error in _ALL}


def error_class(code: str | None, by_status: str | None = None) -> type[GuerdonError]:
    """Class of a wire code; `GuerdonError` itself for one that this client does not know.

    Args:
        by_status: code that the reply's status stands for. Of a newer service, or of a gateway that writes
            errors much as this one does, it tells whether to try again.
    """
    known, meant = _BY_CODE.get(code or ""), _BY_CODE.get(by_status or "", GuerdonError)
    return known or (meant if meant.may_retry else GuerdonError)
