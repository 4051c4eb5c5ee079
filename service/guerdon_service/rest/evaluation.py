"""The routes of evaluations: start, look, follow, read the report, cancel."""

from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Scope
from guerdon_service.core.evaluation import ENDED, REPORT_FORMATS, Evaluator
from guerdon_service.core.streams import closed_after
from guerdon_service.core.visible_evaluations import VisibleEvaluations
from guerdon_service.rest.context import Context, allow, json_reply
from guerdon_service.rest.evaluation_wire import decode_evaluation, render_evaluation, render_evaluations
from guerdon_service.rest.events import EventStream, event


async def start_evaluation(at: Context, request: Request) -> Response:
    """Start an evaluation on held-out preferences; it goes on without its caller."""
    query = await at.parse(request, Scope.SCORE, decode_evaluation)
    return json_reply(render_evaluation(await at.services.evaluator.start(query)), status=202)


async def list_evaluations(at: Context, request: Request) -> Response:
    """The caller's evaluations, an admin's being all, newest first, without reports."""
    return json_reply(render_evaluations(await _seen(at, request).all()))


async def get_evaluation(at: Context, request: Request) -> Response:
    """One evaluation: how far it is, and once done what it found."""
    return json_reply(render_evaluation(await _seen(at, request).get(request.path_params["id"])))


async def follow_evaluation(at: Context, request: Request) -> EventStream:
    """The evaluation as an event `progress` whenever it moved on, until an event `result`."""
    return EventStream(request, _events(_seen(at, request), request.path_params["id"]))


async def get_report(at: Context, request: Request) -> Response:
    """A finished evaluation as one self-contained page, as Markdown, or as plain text."""
    format = request.query_params.get("format") or REPORT_FORMATS[0]
    text = await _seen(at, request).report(request.path_params["id"], format)
    return Response(text, media_type=f"text/{format}")


async def cancel_evaluation(at: Context, request: Request) -> Response:
    """Stop an evaluation; what it scored is kept."""
    return json_reply(render_evaluation(await _seen(at, request).cancel(request.path_params["id"])))


def _seen(at: Context, request: Request) -> VisibleEvaluations:
    """Those of the caller, whatever scopes its key has."""
    return VisibleEvaluations(at.services.evaluator, allow(request, None))


async def _events(service: Evaluator, evaluation_id: str) -> AsyncGenerator[bytes, None]:
    async with closed_after(service.follow(evaluation_id)) as states:
        async for state in states:
            yield event("result" if state.state in ENDED else "progress", render_evaluation(state))
