"""What every transport must do alike with a call: its id, its turns, its options."""

import random
import re
from dataclasses import dataclass
from math import inf

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.query import Lane, Options

MAX_INT32 = 2**31 - 1
"""Whole numbers on the wire are the proto's int32, over REST too."""

MAX_TEXT_CHARS = 500
"""Most characters of an error's message or param that leave the service."""

ANONYMOUS = "anonymous"
"""Who acts on a service that has no keys."""

_LANES: dict[str, Lane] = {lane.value: lane for lane in Lane}
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_RANDOM = random.Random()  # noqa: S311
"""For names, which hide nothing: a system call gives up Python's lock, and may wait long for it."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a transport knows of a call besides its message.

    remaining_s: seconds until the transport's own deadline; None where it has none.
    is_admin: whether its key has the scope ``admin``.
    """

    tenant: str
    request_id: str
    remaining_s: float | None = None
    is_admin: bool = False

    @property
    def by(self) -> str:
        """Who is written down as having done it."""
        return caller_name(self.tenant)


def caller_name(tenant: str) -> str:
    """The tenant, or ``anonymous`` where no key is asked for."""
    return tenant or ANONYMOUS


def request_id(given: str | None) -> str:
    """The caller's id when it is 1 to 128 printable ASCII characters without spaces, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{_RANDOM.getrandbits(128):032x}"


def trace_id(traceparent: str | None, request_id: str) -> str:
    """The id of the request's trace, 32 hex digits: the caller's (W3C Trace Context), or the request's own id
    where the service made that; empty when there is neither.
    """
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is not None and match[1].strip("0"):
        return match[1]
    return request_id if _TRACE_ID.fullmatch(request_id) else ""


def options(
    call: Call, *, model: str | None, profile: str | None, lane: str | None, deadline_ms: int | None
) -> Options:
    """Options of a query; an empty string means "not given", and the earlier deadline counts.

    Raises:
        InvalidInput: an unknown lane, or a deadline below 1 ms.
    """
    chosen = _LANES.get(lane or Lane.INTERACTIVE)
    if chosen is None:
        raise InvalidInput(f"lane is {lane!r}; use one of {', '.join(Lane)}", param="lane")
    if deadline_ms is not None and deadline_ms < 1:
        raise InvalidInput(
            f"deadline_ms is {deadline_ms}; give at least 1 millisecond, or leave it out", param="deadline_ms"
        )
    deadline_s = call.remaining_s
    if deadline_ms is not None:
        deadline_s = min(deadline_ms / 1000, inf if deadline_s is None else deadline_s)
    return Options(
        model=model or None,
        profile=profile or None,
        deadline_s=deadline_s,
        lane=chosen,
        tenant=call.tenant,
        request_id=call.request_id,
    )


def turns(prompt: str | None, messages: tuple[Message, ...] | None, path: str) -> tuple[Message, ...]:
    """The turns before the response, from exactly one of `prompt` and `messages`.

    Args:
        path: what precedes the field's name in an error's param, e.g. ``items[3].``; may be empty.

    Raises:
        InvalidInput: both or neither are given.
    """
    if prompt is not None and messages is not None:
        raise InvalidInput(
            f"{path}prompt and {path}messages are both given; give one of them", param=f"{path}messages"
        )
    if messages is not None:
        return messages
    if prompt is None:
        raise InvalidInput(f"{path}prompt is missing; give a prompt or messages", param=f"{path}prompt")
    return (Message("user", prompt),)


def wire_text(text: str) -> str:
    """`text` as any wire can carry it: lone surrogates escaped, the middle left out beyond
    `MAX_TEXT_CHARS`.

    Messages quote what callers sent, name the remedy at their end, and gRPC sends no long metadata.
    """
    readable = text.encode("utf-8", "backslashreplace").decode()
    if len(readable) <= MAX_TEXT_CHARS:
        return readable
    half = MAX_TEXT_CHARS // 2
    return f"{readable[:half]}...{readable[-half:]}"
