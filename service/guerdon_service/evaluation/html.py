"""The report as one HTML file: no request to anywhere, light and dark, everything from the data escaped."""

from collections.abc import Sequence
from html import escape

from guerdon_service.evaluation import figures
from guerdon_service.evaluation.figures import Plain, Row
from guerdon_service.evaluation.svg import forest, reliability

MAX_PLOTTED = 40
"""Slices in the plot; the table beside it has all."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #57606a; --page: #fff; --card: #f6f8fa;
  --line: #d0d7de; --mark: #0a69c7; --good: #1a7f37; --fair: #9a6700; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117;
  --card: #161b22; --line: #30363d; --mark: #58a6ff; --good: #3fb950; --fair: #d29922; --bad: #ff7b72; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { cursor: pointer; } td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.badge { font-weight: 700; padding: .1rem .6rem; border-radius: 1rem; border: 1px solid currentColor; }
.better { color: var(--good); } .not-worse { color: var(--good); } .worse { color: var(--bad); }
.inconclusive { color: var(--fair); } .soft, code { color: var(--soft); } code { overflow-wrap: anywhere; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem;
  margin: .5rem 0; } summary { cursor: pointer; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; border-left: 3px solid var(--line);
  margin: .3rem 0; padding-left: .8rem; }
input { font: inherit; width: 100%; padding: .3rem; box-sizing: border-box; }
svg { display: block; margin: .5rem 0; font: 12px system-ui, sans-serif; max-width: 100%; height: auto; }
svg text { fill: var(--ink); } svg .number { fill: var(--soft); } svg .mark { fill: var(--mark); }
svg .whisker { stroke: var(--mark); stroke-width: 2; }
svg .rule { stroke: var(--soft); stroke-dasharray: 3 3; }
svg .axis { stroke: var(--line); } svg .reference { stroke: var(--soft); stroke-width: 2; }
"""

_SCRIPT = """
document.querySelectorAll("th").forEach(th => th.addEventListener("click", () => {
  const body = th.closest("table").tBodies[0], column = th.cellIndex, down = th.dataset.down !== "1";
  const key = row => row.cells[column].textContent, number = text => parseFloat(text);
  th.dataset.down = down ? "1" : "";
  [...body.rows].sort((a, b) => {
    const x = number(key(a)), y = number(key(b));
    const order = isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
    return down ? -order : order;
  }).forEach(row => body.append(row));
}));
const filter = document.getElementById("filter");
if (filter) filter.addEventListener("input", () => document.querySelectorAll("details.item").forEach(item => {
  item.hidden = !item.textContent.toLowerCase().includes(filter.value.toLowerCase());
}));
"""


def report_html(report: Plain) -> str:
    """A page that stands alone.

    Args:
        report: plain JSON, see `report.to_json`.
    """
    candidate = report["candidate"]
    name = escape(figures.model_name(candidate["model"]))
    ceiling = figures.ceiling(report)
    parts = [
        f"<h1>Evaluation of {name}</h1>",
        f"<p>{_badge(report)}{escape(figures.verdict(report))}.</p>",
        "<p class='soft'>Intervals are 95 %. A length rule that does better than the model means that the "
        "model has not been shown to see anything else. Click a heading to sort.</p>",
        _table(figures.summary(report)),
        f"<p>{escape(ceiling)}.</p>" if ceiling else "",
        _comparison(report),
        f"<h2>Accuracy by slice</h2>{_forest(candidate)}{_table(figures.slices(candidate))}",
        _calibration(candidate),
        _style(candidate),
        _robustness(report),
        _disagreements(report),
        _provenance(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"/>'
        f"<title>Evaluation of {name}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _badge(report: Plain) -> str:
    if report["comparison"] is None:
        return ""
    verdict = report["comparison"]["verdict"]
    return f'<span class="badge {verdict.replace(" ", "-")}">{escape(verdict)}</span> '


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows[1:])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _comparison(report: Plain) -> str:
    comparison = report["comparison"]
    if comparison is None:
        return ""
    return (
        "<h2>Candidate against baseline</h2><p>Paired, on the same items. <b>better</b>: the interval lies "
        "above 0; <b>not worse</b>: above minus the margin; <b>worse</b>: below 0; else <b>inconclusive</b>. "
        "Slices are adjusted for their number (Holm). <i>Detectable</i> is the difference that the items "
        f"would show with 80 % probability.</p>{_table(figures.compared(comparison))}"
        f"<p class='soft'>{escape(figures.p_values(report) or '')}.</p>"
        f"<p>{escape(figures.losses(report) or '')}</p>"
        f"<p>{escape(figures.length_rise(report) or '')}</p>"
    )


def _forest(model: Plain) -> str:
    parts = [(f"{s['kind']} {s['name']}", s["found"]) for s in model["slices"]]
    shown = [("all", model["overall"]), *parts]
    shown = shown[:MAX_PLOTTED]
    return forest([(label, f["accuracy"], max(f["longer"], f["shorter"])) for label, f in shown])


def _calibration(model: Plain) -> str:
    found = model["calibration"]
    if found is None:
        return ""
    return (
        f"<h2>Calibration</h2><p>{found['num_pairs']:,} pairs, each in both orders; bins of equal mass. On "
        "the dashed line probabilities are right; below it the model is too sure.</p>"
        f"{reliability(found['error']['bins'])}"
    )


def _style(model: Plain) -> str:
    style = model["style"]
    if style is None:
        return ""
    levels = range(len(style["matrix"]))
    rows = [("chosen \\ rejected", *(f"style {i}" for i in levels))]
    rows += [(f"style {i}", *(f"{v:.3f}" for v in style["matrix"][i])) for i in levels]
    return f"<h2>Substance against style</h2>{_table(rows)}"


def _robustness(report: Plain) -> str:
    rows = figures.robustness(report)
    if len(rows) == 1:
        return ""
    return (
        "<h2>Robustness</h2><p>The chosen response of a sample of pairs, changed. <i>Shift</i> is what that "
        "does to its reward, in standard deviations of the rewards; <i>flips</i> the share of pairs whose "
        f"order it changes.</p>{_table(rows)}"
    )


def _disagreements(report: Plain) -> str:
    shown = "".join(
        f'<details class="item"><summary>{escape(d["subset"])} · {escape(d["id"])} · P(preferred) '
        f'{d["probability"]:.3f}</summary><p class="soft">prompt</p><pre>{escape(d["prompt"])}</pre>'
        f'<p class="soft">people preferred, reward {d["reward_preferred"]:.3f}</p>'
        f"<pre>{escape(d['preferred'])}</pre>"
        f'<p class="soft">the model scored higher, reward {d["reward_scored_higher"]:.3f}</p>'
        f"<pre>{escape(d['scored_higher'])}</pre></details>"
        for d in report["disagreements"]
    )
    if not shown:
        return ""
    return (
        "<h2>Worst disagreements</h2><p class='soft'>Texts are as collected and may offend.</p>"
        f'<input id="filter" placeholder="show only those that contain …" aria-label="filter"/>{shown}'
    )


def _provenance(report: Plain) -> str:
    data = report["data"]
    rows: list[Row] = [("provenance", "value")]
    for side in ("candidate", "baseline"):
        if report[side]:
            model = report[side]["model"]
            rows += [(side, figures.model_name(model)), (f"{side} digest", model["digest"])]
    rows += [
        ("data", ", ".join(data["files"])),
        ("data SHA-256", data["sha256"]),
        (
            "items",
            f"{data['num_items']} with {data['num_responses']} responses, {data['num_clusters']} prompts",
        ),
        (
            "of these",
            f"{data['num_ties']} ties, {data['num_best_of']} best-of-k, {data['num_matrices']} matrices",
        ),
        ("guerdon", report["guerdon_version"]),
    ]
    return f"<h2>Provenance</h2>{_table(rows)}"
