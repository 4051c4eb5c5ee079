"""Administrators' acts over REST, written down; and the route that reads them."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from guerdon_service.core.audit import AdminAct, RecordedAct, told
from guerdon_service.core.auth import Scope
from guerdon_service.core.call import caller_name
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.rest.context import ASKED, Context, allow, json_reply
from guerdon_service.rest.render import dump

Endpoint = Callable[[Context, Request], Awaitable[ASGIApp]]

LIMITS = ("100", "1000")
"""How many acts one reply holds."""


def audited(endpoint: Endpoint) -> Endpoint:
    """`endpoint`, whose every call is written down before its reply is sent, a refused one too."""

    @wraps(endpoint)
    async def recorded(at: Context, request: Request) -> ASGIApp:
        outcome = "internal"
        try:
            reply = await endpoint(at, request)
            outcome = "ok"
            return reply
        except GuerdonError as error:
            outcome = error.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            asked = request.path_params | request.scope.get(ASKED, {})
            act = AdminAct(
                by=caller_name(request.scope["guerdon.caller"].tenant),
                act=endpoint.__name__,
                outcome=outcome,
                transport="rest",
                request_id=request.scope["guerdon.request_id"],
                detail=told(asked),
            )
            await at.services.audit.record(act)

    return recorded


async def list_acts(at: Context, request: Request) -> Response:
    """What administrators did, or tried, newest first (admin scope)."""
    allow(request, Scope.ADMIN)
    limit = request.query_params.get("limit", LIMITS[0])
    if limit not in LIMITS:
        raise InvalidInput(f"limit is {limit[:40]!a}; use one of {', '.join(LIMITS)}", param="limit")
    return json_reply(render_acts(await at.services.audit.acts(int(limit))))


def render_acts(acts: tuple[RecordedAct, ...]) -> bytes:
    """``{acts: [...]}``."""
    return dump(
        {
            "acts": [
                {
                    "at": recorded.at,
                    "by": recorded.act.by,
                    "act": recorded.act.act,
                    "outcome": recorded.act.outcome,
                    "transport": recorded.act.transport,
                    "request_id": recorded.act.request_id,
                    "detail": dict(recorded.act.detail),
                }
                for recorded in acts
            ]
        }
    )
