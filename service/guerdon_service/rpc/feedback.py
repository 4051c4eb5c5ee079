"""Feedback over gRPC: parse, call, render."""

from dataclasses import dataclass

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.call import Call
from guerdon_service.core.feedback import Agreement, Feedback, FeedbackTaker
from guerdon_service.rpc.decode import decode_turns, parse


@dataclass(frozen=True, slots=True)
class FeedbackVerbs:
    """One method per verb, from a message's bytes to the reply; raises only `core.errors`."""

    service: FeedbackTaker

    async def submit(self, data: bytes, call: Call) -> pb.SubmitFeedbackResponse:
        """Store a preference that a person gave."""
        feedback = decode_feedback(parse(pb.SubmitFeedbackRequest, data), call)
        return pb.SubmitFeedbackResponse(id=(await self.service.submit(feedback)).id)

    async def agreement(self, data: bytes, call: Call) -> pb.Agreement:
        """How far the caller's stored judgements agree, an admin's being all."""
        parse(pb.GetAgreementRequest, data)
        return _agreement(await self.service.agreement(None if call.is_admin else call.by))


def decode_feedback(message: pb.SubmitFeedbackRequest, call: Call) -> Feedback:
    """One judgement."""
    return Feedback(
        id=message.id,
        prompt=decode_turns(message, ""),
        chosen=message.chosen,
        rejected=message.rejected,
        is_tie=message.tie,
        tenant=call.by,
        annotator=message.annotator,
        at=0.0,
        tags=dict(message.tags),
        shown=tuple(message.shown),
        model=message.model,
    )


def _agreement(found: Agreement) -> pb.Agreement:
    alpha = found.alpha
    return pb.Agreement(
        num_questions=found.num_questions,
        alpha=None if alpha is None else pb.Interval(value=alpha.value, low=alpha.low, high=alpha.high),
        accuracy=found.accuracy,
        num_judgements=found.num_judgements,
    )
