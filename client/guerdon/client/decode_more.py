"""The wire's dictionaries of best-of-n, evaluations, the registry and feedback to typed results.

REST writes null where gRPC leaves a field out or writes "" or, for whole numbers of 64 bits, text: here both
become the same.
"""

import json
from collections.abc import Mapping
from typing import Any

from guerdon.client.decode import Wire, build, get, one_model
from guerdon.errors import InvalidReply
from guerdon.types import (
    Agreement,
    AliasChange,
    BestOfNResult,
    Candidate,
    Evaluation,
    GateCheck,
    Interval,
    ModelHistory,
    ModelVersion,
    Score,
)


def candidate(wire: Wire) -> Candidate:
    """One scored response."""
    return build(
        Candidate, wire, score=build(Score, get(wire, "score")), duplicate_of=wire.get("duplicate_of")
    )


def best_of_n_result(wire: Wire) -> BestOfNResult:
    """The choice and what it was chosen from."""
    candidates = tuple(candidate(c) for c in get(wire, "candidates"))
    return build(BestOfNResult, wire, model=one_model([wire]), candidates=candidates, best=wire.get("best"))


def evaluation(wire: Wire) -> Evaluation:
    """One evaluation; an entry of a list has no report."""
    names = ("baseline", "baseline_digest", "error", "verdict")
    counts = {name: int(get(wire, name)) for name in ("done", "total")}
    texts = {name: wire.get(name) or None for name in names}
    figures = {name: _interval(wire.get(name)) for name in ("accuracy", "delta")}
    measured = {"num_items": wire.get("num_items"), "report": _report(wire)}
    return build(Evaluation, wire, **counts, **texts, **figures, **measured)


def model_version(wire: Wire) -> ModelVersion:
    """One version."""
    parents = wire["parents"] if "parents" in wire else _loads(get(wire, "parents_json"))
    return build(ModelVersion, wire, parents=parents)


def alias_change(wire: Wire) -> AliasChange:
    """One change of an alias."""
    optional = {name: wire.get(name) for name in ("previous", "evaluation_id")}
    checks = tuple(build(GateCheck, c, passed=c.get("passed")) for c in get(wire, "checks"))
    return build(AliasChange, wire, checks=checks, **optional)


def model_history(wire: Wire) -> ModelHistory:
    """Everything of one name."""
    versions = tuple(model_version(v) for v in get(wire, "versions"))
    changes = tuple(alias_change(c) for c in get(wire, "changes"))
    return build(ModelHistory, wire, versions=versions, changes=changes)


def agreement(wire: Wire) -> Agreement:
    """How far stored feedback agrees."""
    return build(Agreement, wire, alpha=_interval(wire.get("alpha")))


def _interval(wire: Wire | None) -> Interval | None:
    return None if wire is None else build(Interval, wire)


def _report(wire: Wire) -> Mapping[str, Any] | None:
    text = wire.get("report_json")
    return _loads(text) if text else wire.get("report")


def _loads(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        raise InvalidReply("a field of the reply is not JSON; is this Guerdon's URL?") from None
