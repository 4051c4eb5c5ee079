"""The route of feedback."""

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Scope
from guerdon_service.rest.context import Context, allow, json_reply
from guerdon_service.rest.feedback_wire import decode_feedback, render_feedback
from guerdon_service.rest.render import dump


async def submit_feedback(at: Context, request: Request) -> Response:
    """Store a preference that a person gave; the same id is kept once."""
    feedback = await at.parse(request, Scope.SCORE, decode_feedback)
    return json_reply(render_feedback(await at.services.feedback.submit(feedback)), status=201)


async def get_agreement(at: Context, request: Request) -> Response:
    """How far the caller's stored judgements agree (an admin's: all), and how reliable each annotator is."""
    call = allow(request, None)
    return json_reply(dump(await at.services.feedback.agreement(None if call.is_admin else call.by)))
