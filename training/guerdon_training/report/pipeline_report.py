"""One page about a whole run of the pipeline, from what its stages left."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from guerdon_service.core.manifest import Manifest, from_json
from guerdon_service.core.statistics.interval import Interval
from guerdon_training.artifact import MANIFEST
from guerdon_training.audit.check import Finding
from guerdon_training.audit.svg import interval_plot
from guerdon_training.report.directions_table import DIRECTIONS, directions_table
from guerdon_training.report.measured import Measured, read_measured
from guerdon_training.report.page import Section, bullets, page, paragraph, plots, subtitle
from guerdon_training.report.policy_card import NOT_TESTED, compared, comparison_table
from guerdon_training.report.reward_card import GROUPS, ROBUSTNESS, SUBSETS
from guerdon_training.report.reward_tables import NOT_TESTED as REWARD_NOT_TESTED
from guerdon_training.report.reward_tables import (
    accuracy_table,
    calibration_table,
    reliability_plot,
    robustness_table,
    slice_table,
)
from guerdon_training.report.table import Table, interval
from guerdon_training.report.training_curves import epoch_curves, over_optimisation, ppo_curves, read_log

Figures = Mapping[str, Any]
KL_BUDGET = 10.0
"""Nats per response: farther from SFT, a rise of gold no longer says much about a usable policy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the stages left, by name of their folder.

    audit: the audit's report. comparison: of the policies. measured: of the reward models.
    stages: rows of name, seconds and peak memory.
    """

    name: str
    audit: Figures
    comparison: Figures
    manifests: Mapping[str, Manifest]
    logs: Mapping[str, Sequence[Figures]]
    measured: Mapping[str, Measured]
    stages: Sequence[Sequence[str]]


def read_outcome(name: str, root: Path, stages: Sequence[Sequence[str]]) -> Outcome:
    """Read it from the pipeline's folder."""
    names = ("sft", "reward", "gold", "dpo", "ppo")
    return Outcome(
        name=name,
        audit=json.loads((root / "audit" / "report.json").read_text("utf-8")),
        comparison=json.loads((root / "compare" / "comparison.json").read_text("utf-8")),
        manifests={n: from_json((root / n / MANIFEST).read_text("utf-8")) for n in names},
        logs={n: read_log(root / n) for n in names},
        measured={n: read_measured(root / "artifacts" / f"{n}_measured.json") for n in ("reward", "gold")},
        stages=stages,
    )


def pipeline_page(outcome: Outcome) -> str:
    """The page."""
    sections = [
        _summary(outcome),
        _audit(outcome.audit),
        Section("sft", "SFT", [_facts(outcome.manifests["sft"]), plots(epoch_curves(outcome.logs["sft"]))]),
        _reward("reward", "Reward model (proxy)", outcome),
        _reward("gold", "Gold reward model", outcome),
        Section("dpo", "DPO", [_facts(outcome.manifests["dpo"]), plots(epoch_curves(outcome.logs["dpo"]))]),
        Section("ppo", "PPO", [_facts(outcome.manifests["ppo"]), plots(ppo_curves(outcome.logs["ppo"]))]),
        _comparison(outcome.comparison),
        _over_optimisation(outcome),
        Section("not-tested", "Not tested", [bullets([*NOT_TESTED, *REWARD_NOT_TESTED])]),
        Section(
            "stages",
            "Stages",
            [Table(("stage", "seconds", "peak RSS, MiB", "digest"), outcome.stages).html()],
        ),
    ]
    return page(f"Pipeline {outcome.name}", sections)


def verdict(policy: str, comparison: Figures) -> str:
    """One sentence: whether gold rose over SFT, by how much and how far from it."""
    figures = comparison["policies"][policy]
    rise, kl = figures["rewards"]["gold"]["over_reference"], figures["kl"]["value"]
    shown = "is not shown to differ from SFT's"
    if rise["low"] > 0 or rise["high"] < 0:
        shown = "rises over SFT" if rise["low"] > 0 else "falls below SFT"
    within = "within" if kl <= KL_BUDGET else "beyond"
    return (
        f"{policy.upper()}: gold reward {shown}, difference {interval(rise, sign=True)} on "
        f"{comparison['num_prompts']} held-out prompts, at a KL of {kl:.2f} nats per response ({within} "
        f"{KL_BUDGET:g})."
    )


def _summary(outcome: Outcome) -> Section:
    sentences = [verdict(policy, outcome.comparison) for policy in ("dpo", "ppo")]
    sentences += [
        f"Reward model, {a.attribute}: accuracy {interval(a.accuracy)} on {a.num_pairs} test pairs."
        for a in outcome.measured["reward"].quality.accuracies
        if a.name == "all"
    ]
    return Section("summary", "Summary", [bullets(sentences)])


def _audit(report: Figures) -> Section:
    rows = [(c["name"], c["verdict"], c["reason"]) for c in report["checks"]]
    files = [(f["path"], f["sha256"]) for f in report["files"]]
    return Section(
        "audit",
        "Data audit",
        [
            paragraph(f"Worst verdict: {report['verdict']}. The audit's own page is audit/report.html."),
            Table(("check", "verdict", "reason"), rows).html(),
            Table(("file", "SHA-256"), files).html(),
        ],
    )


def _facts(manifest: Manifest) -> str:
    """The manifest's plain figures, flat."""
    figures = _flat({k: v for k, v in manifest.metrics.items() if k != "comparison"})
    rows = [(name, f"{v:.4f}" if isinstance(v, float) else str(v)) for name, v in figures.items()]
    title = f"All figures of {escape(manifest.name)}"
    return f"<details><summary>{title}</summary>{Table(('figure', 'value'), rows).html()}</details>"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return {key: v for part in parts for key, v in part.items()}
    return {prefix: value}


def _reward(name: str, title: str, outcome: Outcome) -> Section:
    found = outcome.measured[name]
    blocks = [
        accuracy_table(found.quality).html(),
        paragraph(SUBSETS),
        subtitle("Calibration"),
        calibration_table(found.quality).html(),
        plots([reliability_plot(found.quality)]),
        subtitle("Training"),
        plots(epoch_curves(outcome.logs[name])),
        subtitle("Robustness"),
        paragraph(ROBUSTNESS),
        robustness_table(found.reactions).html(),
    ]
    if refusals := directions_table(outcome.manifests[name]):
        blocks += [subtitle("When to refuse"), paragraph(DIRECTIONS), refusals.html()]
    if found.groups:
        blocks += [subtitle("Groups of people"), paragraph(GROUPS), slice_table(found.groups).html()]
    return Section(name, title, blocks)


def _comparison(comparison: Figures) -> Section:
    rises = [
        Finding(f"{policy}: {judge} over SFT", rise["value"], "coefficient", interval=Interval(**rise))
        for policy, figures in comparison["policies"].items()
        if policy != "sft"
        for judge, reward in figures["rewards"].items()
        for rise in (reward["over_reference"],)
    ]
    return Section(
        "comparison",
        "Policies compared",
        [
            interval_plot(rises),
            comparison_table(comparison).html(),
            paragraph(compared(comparison)),
        ],
    )


def _over_optimisation(outcome: Outcome) -> Section:
    kept = outcome.manifests["ppo"].metrics["kept_update"]
    text = (
        "Proxy is what PPO trains on; gold judges and is never trained on. Where gold bends down while proxy "
        f"rises, the policy has begun to exploit the proxy. The weights kept are those after update {kept}."
    )
    curve = plots([over_optimisation(outcome.logs["ppo"])])
    return Section("over-optimisation", "Over-optimisation", [paragraph(text), curve])
