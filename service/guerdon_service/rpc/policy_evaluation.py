"""Policy evaluations over gRPC: parse, call, render."""

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.call import Call, options
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.limits import Limits, check_count
from guerdon_service.core.policy_evaluation import (
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyEvaluationQuery,
    PolicyEvaluator,
    PolicyPrompt,
)
from guerdon_service.core.streams import closed_after
from guerdon_service.rpc.decode import decode_turns, parse

_SAMPLING = ("max_tokens", "temperature", "top_p", "seed")


@dataclass(frozen=True, slots=True)
class PolicyEvaluationVerbs:
    """The verb, from a message's bytes to its replies; raises only `core.errors`."""

    service: PolicyEvaluator
    limits: Limits

    async def evaluate_policy(self, data: bytes, call: Call) -> AsyncIterator[pb.EvaluatePolicyEvent]:
        """Progress, the result last."""
        query = decode_policy_evaluation(parse(pb.EvaluatePolicyRequest, data), call, self.limits)
        async with closed_after(self.service.stream(query)) as parts:
            async for part in parts:
                yield render_event(part, call.request_id)


def decode_policy_evaluation(
    message: pb.EvaluatePolicyRequest, call: Call, limits: Limits
) -> PolicyEvaluationQuery:
    """A query; what is not given is the core's default."""
    check_count("prompts", len(message.prompts), limits)
    given = {name: getattr(message, name) for name in _SAMPLING if message.HasField(name)}
    return PolicyEvaluationQuery(
        policies=tuple(message.policies),
        prompts=tuple(_prompt(prompt, f"prompts[{i}].") for i, prompt in enumerate(message.prompts)),
        n=message.n if message.HasField("n") else 1,
        params=SamplingParams(**given),
        baseline=message.baseline or None,
        reference=message.reference or None,
        options=options(call, model=message.model, profile=message.profile, lane=None, deadline_ms=None),
        gold=message.gold or None,
        judge=message.judge or None,
    )


def render_event(
    part: PolicyEvaluationProgress | PolicyEvaluation, request_id: str
) -> pb.EvaluatePolicyEvent:
    """``progress`` or ``result``; field names are the core's, so that a message takes its plain values."""
    if isinstance(part, PolicyEvaluationProgress):
        return pb.EvaluatePolicyEvent(progress=pb.PolicyEvaluationProgress(done=part.done, total=part.total))
    found = _given(asdict(part))
    total_ms = found.pop("total_s") * 1000
    return pb.EvaluatePolicyEvent(
        result=pb.PolicyEvaluation(**found, total_ms=total_ms, request_id=request_id)
    )


def _prompt(message: pb.PolicyPrompt, path: str) -> PolicyPrompt:
    response = message.baseline_response if message.HasField("baseline_response") else None
    return PolicyPrompt(decode_turns(message, path), response)


def _given(value: Any) -> Any:
    """Without what is None, which a message leaves out."""
    if isinstance(value, dict):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list | tuple) else value
