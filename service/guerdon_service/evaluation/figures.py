"""The figures of a report as rows of text, the same for terminal, Markdown and HTML.

Everything here reads the report's plain JSON, as `report.to_json` makes it and stores keep it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Plain = Mapping[str, Any]
Row = tuple[str, ...]

MIN_SHOWN = 30
"""Items of a slice that terminal and Markdown show; the page shows all."""


def table(rows: Sequence[Row]) -> str:
    """Columns aligned for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def interval(value: Plain | None, digits: int = 3) -> str:
    """``0.654 [0.640, 0.668]``; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value['value']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def model_name(model: Plain) -> str:
    """``name@version (profile, backend dtype)``."""
    return f"{model['name']}@{model['version']} ({model['profile']}, {model['backend']} {model['dtype']})"


def summary(report: Plain) -> list[Row]:
    """Header, then a row per figure: its name, the candidate's and, where there is one, the baseline's."""
    sides = [report[side] for side in ("candidate", "baseline") if report[side]]
    rows: list[Row] = [("figure", *("candidate", "baseline")[: len(sides)])]
    for name, show in _FIGURES.items():
        shown = [show(side) for side in sides]
        if any(text != "-" for text in shown):
            rows.append((name, *shown))
    return rows


def slices(model: Plain, min_items: int = 1) -> list[Row]:
    """Header, then a row per slice of at least `min_items`."""
    rows: list[Row] = [("slice", "items", "prompts", "accuracy [95 %]", "longer wins", "shorter wins")]
    for part in model["slices"]:
        found = part["found"]
        if found["num_items"] < min_items:
            continue
        rows.append(
            (
                f"{part['kind']} {part['name']}",
                f"{found['num_items']}",
                f"{found['num_clusters']}",
                interval(found["accuracy"]),
                f"{found['longer']:.3f}",
                f"{found['shorter']:.3f}",
            )
        )
    return rows


def compared(comparison: Plain) -> list[Row]:
    """Header, then the whole and each slice: the difference, its p-values (slices by Holm), the verdict."""
    rows: list[Row] = [
        (
            "on",
            "items",
            "difference [95 %]",
            "p-value: better",
            "p-value: not worse",
            "p-value: any difference",
            "detectable",
            "verdict",
        )
    ]
    for name, part in {"all": comparison, **comparison["slices"]}.items():
        rows.append(
            (
                name,
                f"{part['num_items']}",
                interval(part["delta"]),
                f"{part['p_better']:.3g}",
                f"{part['p_not_worse']:.3g}",
                f"{part['mid_p']:.3g}",
                f"{part['minimum_detectable_effect']:.3f}",
                part["verdict"],
            )
        )
    return rows


def p_values(report: Plain) -> str | None:
    """What each p-value of `compared` tests; None without a baseline."""
    comparison = report["comparison"]
    if comparison is None:
        return None
    return (
        "A p-value is how often chance alone would give data that speak for the claim as much as these do, "
        "were it not so: small is evidence for it, and it is not the probability of the claim. Better: "
        "against accuracy no higher than the baseline's; not worse: against lower by the margin "
        f"{comparison['margin']:g} or more; both one-sided, the verdict asks for below "
        f"{comparison['alpha'] / 2:g}, of slices adjusted for their number (Holm). Any difference: McNemar's "
        "mid-p, two-sided, items taken as independent; no verdict rests on it"
    )


def verdict(report: Plain) -> str:
    """One sentence."""
    comparison = report["comparison"]
    if comparison is None:
        return (
            f"accuracy {interval(report['accuracy'])} on {report['candidate']['overall']['num_items']} items"
        )
    return (
        f"verdict {comparison['verdict'].upper()}: {interval(comparison['delta'])} in accuracy, candidate "
        f"less baseline, margin {comparison['margin']:g}; these {comparison['num_items']} items can show a "
        f"difference of {comparison['minimum_detectable_effect']:.3f}"
    )


def losses(report: Plain) -> str | None:
    """One sentence on the paired difference of log-losses; None without a baseline."""
    if report["nll_difference"] is None:
        return None
    return (
        f"negative log-likelihood, candidate less baseline: {interval(report['nll_difference'], 4)} nats; "
        "below 0 favours the candidate"
    )


def length_rise(report: Plain) -> str | None:
    """One sentence on whether it follows length more; None without a baseline, and in reports from before it
    was measured.
    """
    found = report.get("length_rise")
    if found is None:
        return None
    return (
        f"length correlation of the candidate less that of the baseline, both without sign: {interval(found)}"
    )


def ceiling(report: Plain) -> str | None:
    """One sentence on what noisy labels allow; None where nobody voted twice."""
    found = report["ceiling"]
    if found is None:
        return None
    return (
        f"on {found['num_items']} pairs with votes two people agree {interval(found['agreement'])}; against "
        f"the majority of {found['num_votes']} a perfect model reaches {found['low']:.3f} to "
        f"{found['high']:.3f}, the candidate {found['accuracy']:.3f} ({found['share']:.1%} of it)"
    )


def robustness(report: Plain) -> list[Row]:
    """Header, then a row per model and transform; the header alone where none was asked for."""
    rows: list[Row] = [
        ("model", "transform", "pairs", "reward shift, sd [95 %]", "order flips [95 %]", "meant to")
    ]
    for side in ("candidate", "baseline"):
        for row in report[side]["robustness"] if report[side] else ():
            rows.append(
                (
                    side,
                    row["transform"],
                    f"{row['num_pairs']}",
                    interval(row["shift"]),
                    interval(row["flips"]),
                    row["meaning"],
                )
            )
    return rows


def _in(section: str, show: Callable[[Plain], str]) -> Callable[[Plain], str]:
    return lambda model: "-" if model[section] is None else show(model[section])


_FIGURES: dict[str, Callable[[Plain], str]] = {
    "model": lambda m: model_name(m["model"]),
    "accuracy, prompts as clusters": lambda m: interval(m["overall"]["accuracy"]),
    "accuracy, items independent": lambda m: interval(m["overall"]["wilson"]),
    "items (prompts)": lambda m: f"{m['overall']['num_items']} ({m['overall']['num_clusters']})",
    "refused, counted as chance": lambda m: f"{m['num_refused']}",
    "longer wins / shorter wins": lambda m: f"{m['overall']['longer']:.3f} / {m['overall']['shorter']:.3f}",
    "over the better of these": _in("length", lambda s: interval(s["over_heuristic"])),
    "length-matched accuracy": _in("length", lambda s: interval(s["matched"])),
    "length correlation": _in("length", lambda s: f"{s['correlation']:.3f}"),
    "calibration error (ECE)": _in("calibration", lambda s: interval(s["error"]["ece"])),
    "Brier score": _in("calibration", lambda s: interval(s["error"]["brier"], 4)),
    "negative log-likelihood": _in("calibration", lambda s: interval(s["error"]["nll"], 4)),
    "|P - 0.5| on ties / decided": _in(
        "ties", lambda s: f"{s['distance']:.3f} / {s['distance_decided']:.3f} ({s['num_ties']} ties)"
    ),
    "style: easy / normal / hard": _in(
        "style",
        lambda s: f"{s['easy']:.3f} / {s['normal']:.3f} / {s['hard']:.3f}, overall {s['overall']:.3f}",
    ),
    "RewardBench": _in(
        "rewardbench",
        lambda s: (
            f"v{s['version']} {s['score']:.3f} ("
            + ", ".join(f"{k} {v:.3f}" for k, v in s["sections"].items())
            + ")"
        ),
    ),
}
