"""An evaluation of policies as text."""

from guerdon.cli.table import figure, format_table
from guerdon.types import Interval, PolicyEvaluation, PolicyReport, WinRate


def policy_table(found: PolicyEvaluation) -> str:
    """The whole result as tables."""
    against = found.baseline or ("given responses" if found.baseline_reward else "nothing")
    head = f"{found.num_prompts} prompts, n = {found.n}, by {found.model.name}@{found.model.version}"
    gold = f", gold {found.gold.name}@{found.gold.version}" if found.gold else ""
    parts = [f"{head}{gold}, against {against}", format_table(_summary(found))]
    parts += [
        f"{p.policy}: no KL, because {p.kl_absent}" for p in found.policies if found.reference and p.kl_absent
    ]
    for policy in found.policies:
        if len(policy.best_of_n) > 1:
            parts.append(f"best of n of {policy.policy}\n{format_table(_best_of_n(policy))}")
    parts += [
        f"{point.policy} is over-optimised: reward {_signed(point.proxy_change)}, "
        f"gold {_signed(point.gold_change)}"
        for point in found.over_optimisation
        if point.over_optimised
    ]
    return "\n\n".join(parts)


def _summary(found: PolicyEvaluation) -> list[tuple[str, ...]]:
    rows: dict[str, list[str]] = {
        "reward": [figure(p.reward) for p in found.policies],
        "reward over the baseline": [_signed(p.reward_gain) for p in found.policies],
        "gold reward": [figure(p.gold_reward) for p in found.policies],
        "gold over the baseline": [_signed(p.gold_gain) for p in found.policies],
        "reward variance": [f"{p.reward_variance:.4f}" if found.n > 1 else "" for p in found.policies],
        "win rate": [_rate(p.win_rate) for p in found.policies],
        "win rate at equal length": [_rate(p.win_rate, controlled=True) for p in found.policies],
        "gold win rate": [_rate(p.gold_win_rate) for p in found.policies],
        "gold win rate at equal length": [_rate(p.gold_win_rate, controlled=True) for p in found.policies],
        "judge's win rate": [_rate(p.judged.win_rate if p.judged else None) for p in found.policies],
        "judge's at equal length": [
            _rate(p.judged.win_rate if p.judged else None, controlled=True) for p in found.policies
        ],
        "judge flips with the order": [
            figure(p.judged.flip_rate if p.judged else None) for p in found.policies
        ],
        "judge's taste for the first": [
            figure(p.judged.position_effect if p.judged else None) for p in found.policies
        ],
        "judge undecided": [_share(p) for p in found.policies],
        "KL (k1)": [figure(p.kl.k1 if p.kl else None) for p in found.policies],
        "KL (k3)": [figure(p.kl.k3 if p.kl else None) for p in found.policies],
        "characters": [f"{p.mean_chars:.0f}" for p in found.policies],
        "tokens": ["" if p.mean_tokens is None else f"{p.mean_tokens:.1f}" for p in found.policies],
        "ended": [f"{p.ended_rate:.3f}" for p in found.policies],
        "without a reward": [f"{p.unscored_rate:.3f}" if p.unscored_rate else "" for p in found.policies],
    }
    header = ("", *(p.policy for p in found.policies))
    return [header, *((name, *cells) for name, cells in rows.items() if any(cells))]


def _best_of_n(policy: PolicyReport) -> list[tuple[str, ...]]:
    rows = [
        (str(r.n), f"{r.kl_upper_bound:.3f}", figure(r.proxy), figure(r.gold), figure(r.gold_gain))
        for r in policy.best_of_n
    ]
    return [("n", "KL at most", "reward", "gold", "gold over n = 1"), *rows]


def _rate(rate: WinRate | None, *, controlled: bool = False) -> str:
    return "" if rate is None else figure(rate.length_controlled if controlled else rate.raw)


def _share(policy: PolicyReport) -> str:
    judged = policy.judged
    return f"{judged.num_undecided} of {judged.num_asked}" if judged and judged.num_undecided else ""


def _signed(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
