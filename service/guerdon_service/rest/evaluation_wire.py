"""JSON to an `EvaluationQuery`, and evaluations to JSON."""

from collections.abc import Sequence

from guerdon_service.core.call import Call
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery
from guerdon_service.rest.fields import read_id, read_name, read_number, read_object, read_whole
from guerdon_service.rest.render import dump

_KNOWN = frozenset({"candidate", "baseline", "dataset", "profile", "margin", "robustness"})


def decode_evaluation(value: object, call: Call) -> EvaluationQuery:
    """``{candidate, dataset, baseline?, profile?, margin?, robustness?}``; "" is "not given"."""
    fields = read_object(value, _KNOWN, "")
    margin = read_number(fields, "margin")
    return EvaluationQuery(
        candidate=read_id(fields, "candidate"),
        dataset=read_id(fields, "dataset"),
        baseline=read_name(fields, "baseline") or None,
        profile=read_name(fields, "profile") or None,
        robustness=read_whole(fields, "robustness") or 0,
        by=call.by,
        **({} if margin is None else {"margin": margin}),
    )


def render_evaluation(evaluation: Evaluation) -> bytes:
    """One evaluation with its report."""
    return dump(_plain(evaluation) | {"report": evaluation.report})


def render_evaluations(evaluations: Sequence[Evaluation]) -> bytes:
    """``{evaluations: [...]}``, without reports."""
    return dump({"evaluations": [_plain(evaluation) for evaluation in evaluations]})


def _plain(evaluation: Evaluation) -> dict[str, object]:
    found = evaluation.summary
    return {
        "id": evaluation.id,
        "state": evaluation.state,
        "candidate": evaluation.candidate,
        "candidate_digest": evaluation.candidate_digest,
        "baseline": evaluation.baseline,
        "baseline_digest": evaluation.baseline_digest,
        "dataset": evaluation.query.dataset,
        "dataset_sha256": evaluation.dataset_sha256,
        "done": evaluation.done,
        "total": evaluation.total,
        "created_at": evaluation.created_at,
        "error": evaluation.error,
        "accuracy": found.accuracy,
        "num_items": found.num_items,
        "verdict": found.verdict,
        "delta": found.delta,
    }
