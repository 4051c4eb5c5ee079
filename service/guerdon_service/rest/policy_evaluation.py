"""The route of policy evaluations: one reply, or events with their progress."""

from collections.abc import AsyncGenerator
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Scope
from guerdon_service.core.policy_evaluation import PolicyEvaluation, PolicyEvaluationQuery, PolicyEvaluator
from guerdon_service.core.streams import closed_after
from guerdon_service.rest.context import Context, json_reply
from guerdon_service.rest.disconnect import while_connected
from guerdon_service.rest.events import EventStream, event
from guerdon_service.rest.policy_evaluation_wire import (
    decode_policy_evaluation,
    render_policy_evaluation,
    render_progress,
)


async def evaluate_policy(at: Context, request: Request) -> Response | EventStream:
    """Sample policies on prompts, score, compare and measure them; as events when `stream` is true."""
    decode = partial(decode_policy_evaluation, limits=at.limits)
    query, stream = await at.parse(request, Scope.SCORE, decode)
    if stream:
        return EventStream(request, _events(at.services.policy_evaluator, query))
    result = await while_connected(request, at.services.policy_evaluator.run(query))
    return json_reply(render_policy_evaluation(result, query.options.request_id))


async def _events(service: PolicyEvaluator, query: PolicyEvaluationQuery) -> AsyncGenerator[bytes, None]:
    async with closed_after(service.stream(query)) as parts:
        async for part in parts:
            if isinstance(part, PolicyEvaluation):
                yield event("result", render_policy_evaluation(part, query.options.request_id))
            else:
                yield event("progress", render_progress(part))
