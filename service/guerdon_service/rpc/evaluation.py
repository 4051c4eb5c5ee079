"""Evaluations over gRPC: parse, call, render."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import orjson

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.auth import Scope
from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import REPORT_FORMATS, Evaluation, EvaluationQuery, Evaluator
from guerdon_service.core.evaluation_summary import Figure
from guerdon_service.core.streams import closed_after
from guerdon_service.core.visible_evaluations import VisibleEvaluations
from guerdon_service.rpc.decode import parse, required


@dataclass(frozen=True, slots=True)
class EvaluationVerbs:
    """One method per verb, from a message's bytes to the replies; raises only `core.errors`."""

    service: Evaluator

    async def evaluate(self, data: bytes, call: Call) -> AsyncIterator[pb.Evaluation]:
        """Start one, or follow one, until it ends; it goes on without its caller."""
        message, evaluations = parse(pb.EvaluateRequest, data), VisibleEvaluations(self.service, call)
        if message.id:
            _check_follows(message)
            evaluation_id = message.id
        else:
            evaluation_id = (await evaluations.start(decode_evaluation(message, call))).id
        async with closed_after(evaluations.follow(evaluation_id)) as states:
            async for state in states:
                yield render_evaluation(state)

    async def cancel(self, data: bytes, call: Call) -> pb.Evaluation:
        """Stop an evaluation; what it scored is kept."""
        message = parse(pb.CancelEvaluationRequest, data)
        return render_evaluation(await VisibleEvaluations(self.service, call).cancel(message.id))

    async def list(self, data: bytes, call: Call) -> pb.ListEvaluationsResponse:
        """The caller's evaluations, an admin's being all, newest first, without reports."""
        parse(pb.ListEvaluationsRequest, data)
        found = await VisibleEvaluations(self.service, call).all()
        return pb.ListEvaluationsResponse(evaluations=map(render_evaluation, found))

    async def report(self, data: bytes, call: Call) -> pb.GetEvaluationReportResponse:
        """A finished evaluation as a page, or as Markdown."""
        message = parse(pb.GetEvaluationReportRequest, data)
        evaluations = VisibleEvaluations(self.service, call)
        report = await evaluations.report(message.id, message.format or REPORT_FORMATS[0])
        return pb.GetEvaluationReportResponse(report=report)


def scope_to_evaluate(data: bytes) -> Scope | None:
    """Starting an evaluation is work; to follow one is to look, as every key may."""
    return None if parse(pb.EvaluateRequest, data).id else Scope.SCORE


def decode_evaluation(message: pb.EvaluateRequest, call: Call) -> EvaluationQuery:
    """An evaluation query."""
    required(message, "candidate", "dataset")
    query = EvaluationQuery(
        candidate=message.candidate,
        dataset=message.dataset,
        baseline=message.baseline or None,
        profile=message.profile or None,
        robustness=message.robustness,
        by=call.by,
    )
    return replace(query, margin=message.margin) if message.HasField("margin") else query


def render_evaluation(evaluation: Evaluation) -> pb.Evaluation:
    """One evaluation; its whole report, once there is one, as JSON."""
    found = evaluation.summary
    return pb.Evaluation(
        id=evaluation.id,
        state=evaluation.state,
        candidate=evaluation.candidate,
        candidate_digest=evaluation.candidate_digest,
        baseline=evaluation.baseline or "",
        baseline_digest=evaluation.baseline_digest or "",
        dataset=evaluation.query.dataset,
        dataset_sha256=evaluation.dataset_sha256,
        done=evaluation.done,
        total=evaluation.total,
        created_at=evaluation.created_at,
        error=evaluation.error or "",
        accuracy=_interval(found.accuracy),
        num_items=found.num_items,
        verdict=found.verdict or "",
        delta=_interval(found.delta),
        report_json="" if evaluation.report is None else _json(evaluation.report),
    )


def _interval(figure: Figure | None) -> pb.Interval | None:
    return None if figure is None else pb.Interval(value=figure.value, low=figure.low, high=figure.high)


def _json(value: object) -> str:
    return orjson.dumps(value, default=dict).decode()


def _check_follows(message: pb.EvaluateRequest) -> None:
    """Refuse what would be ignored."""
    if message != pb.EvaluateRequest(id=message.id):
        raise InvalidInput("id is given beside a new evaluation; give one of them", param="id")
