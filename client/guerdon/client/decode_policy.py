"""The wire's dictionaries of policy evaluations to typed results; null and left out are the same."""

from guerdon.client.decode import Wire, build, get
from guerdon.types import (
    BestOfNRow,
    Interval,
    JudgedWinRate,
    Kl,
    ModelRef,
    OverOptimisationPoint,
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyReport,
    WinRate,
)


def progress(wire: Wire) -> PolicyEvaluationProgress:
    """Steps done, of all."""
    return build(PolicyEvaluationProgress, wire)


def policy_evaluation(wire: Wire) -> PolicyEvaluation:
    """Everything that was found."""
    gold = wire.get("gold")
    return build(
        PolicyEvaluation,
        wire,
        model=build(ModelRef, get(wire, "model")),
        gold=None if gold is None else build(ModelRef, gold),
        **_intervals(wire, "baseline_reward"),
        policies=tuple(_report(report) for report in get(wire, "policies")),
        over_optimisation=tuple(_point(point) for point in get(wire, "over_optimisation")),
    )


def _report(wire: Wire) -> PolicyReport:
    kl, judged = wire.get("kl"), wire.get("judged")
    return build(
        PolicyReport,
        wire,
        **_intervals(wire, "reward", "gold_reward", "reward_gain", "gold_gain"),
        mean_tokens=wire.get("mean_tokens"),
        win_rate=_win_rate(wire.get("win_rate")),
        gold_win_rate=_win_rate(wire.get("gold_win_rate")),
        judged=None if judged is None else _judged(judged),
        kl=None if kl is None else Kl(build(Interval, get(kl, "k1")), build(Interval, get(kl, "k3"))),
        best_of_n=tuple(
            build(BestOfNRow, row, **_intervals(row, "proxy", "gold", "gold_gain"))
            for row in get(wire, "best_of_n")
        ),
    )


def _win_rate(wire: Wire | None) -> WinRate | None:
    return None if wire is None else build(WinRate, wire, **_intervals(wire, "raw", "length_controlled"))


def _judged(wire: Wire) -> JudgedWinRate:
    figures = _intervals(wire, "flip_rate", "position_effect")
    return build(JudgedWinRate, wire, win_rate=_win_rate(wire.get("win_rate")), **figures)


def _point(wire: Wire) -> OverOptimisationPoint:
    figures = _intervals(wire, "kl", "proxy", "gold", "proxy_change", "gold_change")
    return build(OverOptimisationPoint, wire, **figures)


def _intervals(wire: Wire, *names: str) -> dict[str, Interval | None]:
    return {name: None if wire.get(name) is None else build(Interval, wire[name]) for name in names}
