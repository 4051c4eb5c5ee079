"""What every route works with, and the two steps that they share: parse, and reply."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Caller, Scope
from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.core.strict_json import check_depth, parse_json
from guerdon_service.rest.body import read_body

T = TypeVar("T")

ASKED = "guerdon.asked"
"""Where a request's scope keeps its parsed body, for the audit log."""


@dataclass(frozen=True, slots=True)
class Context:
    """The first argument of every route."""

    services: Services
    limits: Limits
    observer: TransportObserver
    reading: Reading = field(default_factory=Reading)

    async def parse(self, request: Request, scope: Scope, decode: Callable[[object, Call], T]) -> T:
        """What the body asks for, from a caller who has `scope`.

        Raises:
            GuerdonError: the scope is missing, or the body is not what `decode` reads.
        """
        call = allow(request, scope)
        value = parse_json(await read_body(request, self.limits))
        request.scope[ASKED] = value if isinstance(value, dict) else {}
        try:
            return decode(value, call)
        except InvalidInput:
            check_depth(value, self.limits.max_json_depth)
            raise


def allow(request: Request, scope: Scope | None) -> Call:
    """The call, if its caller has `scope`; None asks for any known key.

    Raises:
        PermissionDenied: the key lacks it.
    """
    caller: Caller = request.scope["guerdon.caller"]
    if scope is not None:
        caller.require(scope)
    return Call(caller.tenant, request.scope["guerdon.request_id"], is_admin=caller.is_admin)


def json_reply(body: bytes, status: int = 200) -> Response:
    """A response of JSON bytes."""
    return Response(body, status, media_type="application/json")
