"""Best-of-n over gRPC: parse, call, render."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.best_of_n import BestOfN, BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.call import Call, options
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.streams import closed_after
from guerdon_service.rpc.decode import decode_turns, parse
from guerdon_service.rpc.render import render_model, render_one_score

_SAMPLING = ("max_tokens", "temperature", "top_p", "seed")
_CHOICE = ("conservatism", "choice_temperature", "min_margin", "patience")


@dataclass(frozen=True, slots=True)
class BestOfNVerbs:
    """One method per verb, from a message's bytes to its replies; raises only `core.errors`."""

    service: BestOfN

    async def best_of_n(self, data: bytes, call: Call) -> AsyncIterator[pb.BestOfNEvent]:
        """Candidates as they are scored, the result last."""
        query = decode_best_of_n(parse(pb.BestOfNRequest, data), call)
        async with closed_after(self.service.stream(query)) as parts:
            async for part in parts:
                yield render_event(part, call.request_id)

    async def list_policies(self, data: bytes, call: Call) -> pb.ListPoliciesResponse:
        """Names of the policies that best-of-n samples from."""
        parse(pb.ListPoliciesRequest, data)
        return pb.ListPoliciesResponse(policies=self.service.policies())


def decode_best_of_n(message: pb.BestOfNRequest, call: Call) -> BestOfNQuery:
    """A best-of-n query; what is not given is the core's default."""
    return BestOfNQuery(
        policy=message.policy,
        prompt=decode_turns(message, ""),
        n=message.n,
        params=SamplingParams(**_given(message, _SAMPLING)),
        options=options(
            call,
            model=message.model,
            profile=message.profile,
            lane=None,
            deadline_ms=message.deadline_ms if message.HasField("deadline_ms") else None,
        ),
        **_given(message, _CHOICE),
    )


def render_event(part: ScoredCandidate | BestOfNResult, request_id: str) -> pb.BestOfNEvent:
    """``candidate`` or ``result``."""
    if isinstance(part, BestOfNResult):
        return pb.BestOfNEvent(result=_result(part, request_id))
    return pb.BestOfNEvent(candidate=_candidate(part))


def _result(result: BestOfNResult, request_id: str) -> pb.BestOfNResponse:
    return pb.BestOfNResponse(
        policy=result.policy,
        model=render_model(result.model),
        best=result.best,
        candidates=[_candidate(candidate) for candidate in result.candidates],
        abstained=result.abstained,
        partial=result.partial,
        stopped_early=result.stopped_early,
        kl_upper_bound=result.kl_upper_bound,
        expected_win_rate=result.expected_win_rate,
        total_ms=result.total_s * 1000,
        request_id=request_id,
    )


def _candidate(candidate: ScoredCandidate) -> pb.Candidate:
    generated = candidate.generated
    return pb.Candidate(
        index=generated.index,
        response=generated.text,
        finish_reason=generated.finish_reason,
        score=render_one_score(candidate.score),
        duplicate_of=candidate.duplicate_of,
    )


def _given(message: pb.BestOfNRequest, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names if message.HasField(name)}
