"""The model card, written from measured figures and the config: what neither says, it does not say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon_service.core.manifest import Manifest
from guerdon_service.core.statistics.calibration_fit import doubt
from guerdon_training.config import OptimConfig, RewardConfig, SourceConfig
from guerdon_training.report.directions_table import DIRECTIONS, directions_table
from guerdon_training.report.interval_text import interval_text

Figures = Mapping[str, Any]
"""`evaluate.Accuracy` as plain JSON values: what `manifest.metrics` holds."""

NOT_SHOWN = (
    "**Not shown to beat the length of the response:** its interval on the pooled test pairs holds zero."
)
"""What a card says of a head that may have learned nothing but length."""
WORSE = "**Worse than the length of the response:** its interval on the pooled test pairs is below zero."
"""What it says of one that surely orders less well than length does."""

_HEADER = (
    "| pairs of | n | prompts | accuracy (Wilson 95 %) | longer wins | shorter wins "
    "| over the better one (95 %) | length correlation | refused |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)

NO_SOURCE = "(no source)"
"""What a card calls records that name none."""


def render_card(config: RewardConfig, config_file: str, manifest: Manifest) -> str:
    """Markdown card of a measured but not yet sealed artifact (a card cannot print a digest of itself).

    Args:
        config_file: as given on the command line.
        manifest: `metrics` is ``{head: {split: {"pooled" | source: figures}}}``, and what
            `directions.profile_metrics` gives.
    """
    base, package = manifest.base, manifest.parents["base"] or config.base.package
    parts = [
        f"# {config.name} {config.version}",
        _summary(config, config_file),
        facts(manifest, f"{package}, SHA-256 {base.weights_sha256 if base else ''}"),
        *measured(manifest, [head.name for head in config.heads], config.notes),
        "## Sources",
        *(f"**{h.name}**\n\n" + "\n".join(map(_source, h.sources)) for h in config.heads),
        *limits_section(config.limits),
    ]
    return "\n\n".join(parts) + "\n"


def limits_section(limits: Sequence[str]) -> list[str]:
    """Paragraphs of what a config says its model must not be used for."""
    listed = "\n".join(f"- {limit}" for limit in limits)
    return ["## What it must not be used for", listed] if limits else []


def measured(manifest: Manifest, heads: Sequence[str], notes: Sequence[str] = ()) -> list[str]:
    """Paragraphs about what `metrics` holds: accuracies by head, and when to refuse where known."""
    return [
        "## Measured on held-out pairs",
        _EXPLANATION,
        *notes,
        *(_section(name, manifest.metrics[name]) for name in heads),
        *_directions(manifest),
    ]


_EXPLANATION = """\
No choice was made on the test pairs. *Pooled* is every test pair of the head's sources, also of the parts
that were not trained on. A tie, or a pair with a response too long for the model, counts one half; *refused*
counts the latter. *Longer wins* and *shorter wins* prefer by characters alone. The difference to the better
of the two is paired. Its interval, a bootstrap, and that above each table take prompts as the independent
observations, as pairs of one prompt are not. *Length correlation* is Spearman's, between differences of score
and of length. What is missing to 100 % may be disagreement among people as well as mistakes of the model."""


def ties_left_out(counts: Mapping[str, Any]) -> str:
    """A sentence about pairs that prefer neither response, or none.

    Args:
        counts: ``num_SPLIT_ties``, which the metrics of older runs, and of demonstrations, lack.
    """
    found = {split: counts.get(f"num_{split}_ties", 0) for split in ("train", "valid", "test")}
    told = ", ".join(f"{num} of {split}" for split, num in found.items() if num)
    return f" Ties, which prefer neither response, are left out: {told}." if told else ""


def _summary(config: RewardConfig, config_file: str) -> str:
    heads = " and ".join(f"`{h.name}`" for h in config.heads)
    kind = "heads" if config.heads[1:] else "head"
    return (
        f"A reward model: the {kind} {heads} on {_trunk(config)}. It reads at most "
        f"{config.max_tokens} tokens of `prompt` and `response` as a pair; a longer prompt loses its "
        "beginning, a response is never cut.\n\n"
        f"Trained with `guerdon train reward {config_file}` (`config.yaml` holds every setting): "
        f"{_objective(config)}, "
        f"each pair trains its own head, {_optimisation(config.optim)}."
    )


def _optimisation(optim: OptimConfig) -> str:
    """How the loss was minimised."""
    if optim.l2:
        return f"fitted by Newton's method to its one minimum with an L2 penalty of {optim.l2:g}"
    several = optim.epochs > 1
    epochs = f"{optim.epochs} epochs" if several else "one epoch"
    chosen = "; the epoch is chosen on the valid pairs" if several else ""
    return (
        f"{epochs}, learning rate {optim.learning_rate:g}, {optim.pairs_per_step} pairs a step, assumed flip "
        f"rate {optim.flip_rate:g}, averaged weights (decay {optim.ema_decay:g} a step){chosen}"
    )


def _objective(config: RewardConfig) -> str:
    """The likelihood, and the options that are on."""
    objective, ensemble = config.objective, config.ensemble
    names = {"k_wise": "k-wise Bradley-Terry", "plackett_luce": "Plackett-Luce", "davidson": "Davidson"}
    said = [f"{names.get(objective.kind, 'Bradley-Terry')} loss"]
    said += ["labels from votes"] if objective.labels == "votes" else []
    said += ["flip rates from a data audit"] if objective.flip_rates else []
    said += [f"margins from `{objective.margin}`"] if objective.margin else []
    said += [f"{ensemble.heads} members for each head"] if ensemble.heads > 1 else []
    said += [f"the average of {ensemble.runs} runs' weights"] if ensemble.runs > 1 else []
    said += ["a length head that is not served"] if config.length.penalty else []
    return ", ".join(said)


def _trunk(config: RewardConfig) -> str:
    """What is below the heads, and which states they read."""
    kept = f"the first {config.base.num_layers} layers of " if config.base.num_layers else ""
    frozen = "left as they are" if config.base.num_layers else "left as it is"
    adapter = f"with a LoRA adapter of rank {config.lora.rank}" if config.lora.layers else frozen
    reads = (
        ", reading the mean of the response's tokens plus half of their maximum"
        if config.pooling == "response"
        else ""
    )
    return f"{kept}the encoder of the package `{config.base.package}` {adapter}{reads}"


def facts(manifest: Manifest, base: str) -> str:
    """What was fitted on the valid pairs, from which weights and data.

    Args:
        base: name and SHA-256.
    """
    slope, on_test = manifest.calibration, manifest.metrics["calibration"]["test"]
    norms = ", ".join(f"{h.name} mean {h.norm.mean:.3f}, std {h.norm.std:.3f}" for h in manifest.heads)
    files = ", ".join(f"`{name}` {digest}" for name, digest in manifest.parents["data_sha256"].items())
    return "\n".join(
        [
            f"- Normalised on the valid responses: {norms}.",
            f"- Calibrated on {slope.num_pairs} valid pairs, profile `{min(manifest.profiles)}`: "
            f"P(a preferred) = sigmoid({slope.slope:.3f} x margin), standard error {slope.slope_se:.3f}; "
            "labels are shares of votes where several people judged. "
            f"On {on_test['num_pairs']} test pairs: expected calibration error "
            f"{interval_text(on_test['ece'])}, Brier score {interval_text(on_test['brier'])} "
            "(0.25 is a coin).",
            *(f"- Not sure: {why}." for why in [doubt(slope)] if why),
            f"- Base weights: {base}.",
            f"- Data, SHA-256: {files}.",
        ]
    )


def _directions(manifest: Manifest) -> list[str]:
    """When to refuse, where that was measured."""
    table = directions_table(manifest)
    if table is None:
        return []
    header, *rows = ("| " + " | ".join(row) + " |" for row in (table.header, *table.rows))
    return ["### When to refuse", DIRECTIONS, "\n".join([header, "|" + "---|" * len(table.header), *rows])]


def _section(head: str, by_split: Figures) -> str:
    text = f"### {head}\n"
    over = by_split["test"]["pooled"]["over_baseline"]
    if over["low"] <= 0:
        text += f"\n{WORSE if over['high'] < 0 else NOT_SHOWN}\n"
    for split, rows in by_split.items():
        pooled = interval_text(rows["pooled"]["clustered"])
        text += f"\n{split}, pooled over prompts: {pooled}\n\n{_HEADER}" + "".join(
            _row(name, row) for name, row in rows.items()
        )
    return text.rstrip("\n")


def _row(name: str, row: Figures) -> str:
    over = row["over_baseline"]
    return (
        f"| {name or NO_SOURCE} | {row['num_pairs']} | {row['num_prompts']} "
        f"| {interval_text(row['accuracy'])} "
        f"| {row['longer']['value']:.3f} | {row['shorter']['value']:.3f} "
        f"| {over['value']:+.3f} [{over['low']:+.3f}, {over['high']:+.3f}] "
        f"| {row['length_correlation']:+.2f} | {row['num_refused']} |\n"
    )


def _source(source: SourceConfig) -> str:
    parts = f" Trained on: {', '.join(source.subsets)}." if source.subsets else ""
    left_out = f" Left out of training: {source.excluded}" if source.excluded else ""
    crossed = (
        f" Trained also on its judged completions of `{Path(source.crossed).name}`, train split, crossed: a "
        "safe prompt's compliance beats a refusal of another prompt, an unsafe prompt's refusal beats a "
        "compliance with a safe one."
        if source.crossed
        else ""
    )
    return f"- {source.source or NO_SOURCE} ({source.licence}).{parts}{left_out}{crossed}"
