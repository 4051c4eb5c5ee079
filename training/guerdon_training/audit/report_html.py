"""The report as one HTML file: no script, no request to anywhere, light and dark."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from guerdon_training.audit.check import Check, Finding, Verdict
from guerdon_training.audit.report import Report
from guerdon_training.audit.svg import bar_plot, interval_plot

MAX_ROWS = 40
"""Findings of one kind shown per check; the JSON has them all."""

_WORDS = {Verdict.PASS: "pass", Verdict.WARN: "warn", Verdict.FAIL: "fail", Verdict.NOT_APPLICABLE: "n/a"}

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #57606a; --page: #fff; --card: #f6f8fa;
  --line: #d0d7de; --mark: #0a69c7; --pass: #1a7f37; --warn: #9a6700; --fail: #cf222e; --none: #57606a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117;
  --card: #161b22; --line: #30363d; --mark: #58a6ff; --pass: #3fb950; --warn: #d29922; --fail: #ff7b72;
  --none: #9198a1; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; } section h2 { margin: 0; display: inline; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem;
  margin: 1rem 0; overflow-x: auto; }
.badge { font-size: .75rem; font-weight: 700; text-transform: uppercase; padding: .1rem .5rem;
  border-radius: 1rem; border: 1px solid currentColor; margin-right: .5rem; white-space: nowrap; }
.pass { color: var(--pass); } .warn { color: var(--warn); } .fail { color: var(--fail); }
.not_applicable { color: var(--none); } .soft, code { color: var(--soft); }
code { font-size: .85em; overflow-wrap: anywhere; } a { color: inherit; } details { margin-top: .5rem; }
svg { display: block; margin: .5rem 0; font: 12px system-ui, sans-serif; max-width: 100%; height: auto; }
svg text { fill: var(--ink); } svg .number { fill: var(--soft); } svg .mark { fill: var(--mark); }
svg .whisker { stroke: var(--mark); stroke-width: 2; }
svg .rule { stroke: var(--soft); stroke-dasharray: 3 3; }
"""


def report_html(report: Report) -> str:
    """A page that stands alone."""
    counts = Counter(c.verdict for c in report.checks)
    summary = ", ".join(f"{counts[v]} {_WORDS[v]}" for v in reversed(Verdict) if counts[v])
    files = "".join(
        f"<tr><td><code>{escape(f.path)}</code></td><td>{f.role}</td><td><code>{f.sha256[:16]}</code></td></tr>"
        for f in report.files
    )
    rows = "".join(
        f'<tr><td>{_badge(c.verdict)}</td><td><a href="#{c.name}">{escape(c.title)}</a></td>'
        f"<td>{escape(c.reason)}</td></tr>"
        for c in report.checks
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>Data audit</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<style>{STYLE}</style></head><body><h1>Data audit {_badge(report.verdict)}</h1>"
        f'<p class="soft">{len(report.checks)} checks: {summary}. Rows are named by file and line; their '
        "text is not shown, since it may offend. Intervals are 95 %.</p>"
        f"<table><tr><th>File</th><th>Role</th><th>SHA-256</th></tr>{files}</table>"
        f"<h2>Verdicts</h2><table><tr><th>Verdict</th><th>Check</th><th>Reason</th></tr>{rows}</table>"
        f"{''.join(map(_section, report.checks))}</body></html>\n"
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="badge {verdict}">{_WORDS[verdict]}</span>'


def _section(check: Check) -> str:
    return (
        f'<section id="{check.name}">{_badge(check.verdict)}<h2>{escape(check.title)}</h2>'
        f"<p>{escape(check.reason)}</p>{_figures(check.findings)}{_places(check.places)}</section>"
    )


def _figures(findings: Sequence[Finding]) -> str:
    """Estimates as a plot, counts by slice as bars, the rest as a table."""
    estimates = [f for f in findings if f.interval is not None and f.unit in ("share", "coefficient")]
    bars = [f for f in findings if f.interval is None and f.unit == "rows" and f.group]
    rest = [f for f in findings if f not in estimates and f not in bars]
    parts = []
    if estimates:
        parts.append(interval_plot(estimates[:MAX_ROWS]) + _more(estimates))
    if bars:
        parts.append(bar_plot(bars[:MAX_ROWS]) + _more(bars))
    if rest:
        parts.append(f"<table>{''.join(map(_row, rest[:MAX_ROWS]))}</table>{_more(rest)}")
    return "".join(parts)


def _more(findings: Sequence[Finding]) -> str:
    hidden = len(findings) - MAX_ROWS
    return f'<p class="soft">and {hidden} more in the JSON</p>' if hidden > 0 else ""


def _row(finding: Finding) -> str:
    value = f"{finding.value:,.0f}" if finding.unit in ("rows", "characters") else f"{finding.value:.3f}"
    if finding.interval:
        value += f" [{finding.interval.low:.3f}, {finding.interval.high:.3f}]"
    of = "" if finding.num is None else f"of {finding.num:,}"
    return (
        f"<tr><td>{escape(finding.name)}</td><td>{escape(finding.group)}</td>"
        f'<td class="number">{value}</td><td class="number soft">{of}</td></tr>'
    )


def _places(places: Sequence[str]) -> str:
    if not places:
        return ""
    listed = "".join(f"<li><code>{escape(p)}</code></li>" for p in places)
    return f"<details><summary>{len(places)} places</summary><ol>{listed}</ol></details>"
