"""The model card of a policy, written from measured figures and the config's `card.limits`."""

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon_service.core.manifest import Manifest
from guerdon_training.card import limits_section, ties_left_out
from guerdon_training.report.table import Table, interval

Figures = Mapping[str, Any]

METHODS = {
    "sft": "supervised fine-tuning on demonstrations",
    "dpo": "direct preference optimisation of the SFT policy",
    "ppo": "proximal policy optimisation of the SFT policy",
    "rloo": "REINFORCE with a leave-one-out baseline (RLOO), of the SFT policy",
}

NOT_TESTED = (
    "People have not rated its answers: *gold* is a reward model too, of the same kind as the one trained "
    "on, so the two may share a mistake.",
    "Attacks that are built to get past it.",
    "Whether it refuses what it should answer, beyond what the gold model's other profiles show.",
)
"""What no figure of the card covers."""

_TRAINING = {
    "objective/score": "score",
    "objective/kl": "KL, k1 (nats)",
    "objective/kl_k3": "KL, k3 (nats)",
    "policy/clip_fraction": "clip fraction",
    "policy/entropy": "entropy (nats per token)",
    "value/explained_variance": "explained variance",
    "response/length": "length (tokens)",
    "response/eos_rate": "EOS rate",
}


def policy_card(
    method: str, manifest: Manifest, comparison: Figures, log: Sequence[Figures], limits: Sequence[str]
) -> str:
    """Markdown card.

    Args:
        method: sft, dpo or ppo. manifest: of the policy as its recipe wrote it; its config may say rloo.
        comparison: what `pipeline.compare.summary` gives.
        log: lines of the run's ``metrics.jsonl``.
        limits: what it must not be used for, a sentence each.
    """
    how = manifest.parents.get("config", {}).get("algorithm", method)
    parts = [
        f"# {manifest.name} {manifest.version}",
        f"A language model, made by {METHODS[how]}. Every figure below was measured on this model.",
        "## Against the SFT policy, on held-out prompts",
        comparison_table(comparison).markdown(),
        compared(comparison),
        "## Training",
        _training(method, manifest, log),
        "## Not tested",
        "\n".join(f"- {sentence}" for sentence in NOT_TESTED),
        *limits_section(limits),
        "## Made from",
        _lineage(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def compared(comparison: Figures) -> str:
    """What the figures of `comparison_table` are."""
    kept = KEPT_BY_GOLD if comparison.get("kept_by_gold") else ""
    return COMPARED.format(num=comparison["num_prompts"]) + kept


COMPARED = """\
{num} prompts that nothing was trained on, one response each, the same noise for every policy. *Proxy* is the
reward that PPO trains on; *gold* was trained on other pairs and never used in training. Intervals are 95 %: a
paired bootstrap over prompts. KL is in nats per response, from the SFT policy, estimated on the policy's own
responses (k1 unbiased, k3 never negative: Schulman, "Approximating KL divergence", 2020)."""

KEPT_BY_GOLD = """ Which of PPO's updates is kept, gold chose on the
valid prompts; these prompts chose nothing."""


def comparison_table(comparison: Figures) -> Table:
    """A row a policy: rewards, their difference to the reference, KL, length, EOS rate."""
    policies = comparison["policies"]
    judges = list(next(iter(policies.values()))["rewards"])
    header = ["policy", *(f"{j}, over SFT" for j in judges), "KL k1", "KL k3", "tokens", "EOS rate"]
    rows = [
        [
            name,
            *(_reward(reward) for reward in f["rewards"].values()),
            *(f"{f[key]['value']:.2f}" for key in ("kl", "kl_k3", "tokens", "finished")),
        ]
        for name, f in policies.items()
    ]
    return Table(header, rows)


def _reward(figures: Figures) -> str:
    return f"{figures['mean']['value']:+.3f}, {interval(figures['over_reference'], sign=True)}"


def _training(method: str, manifest: Manifest, log: Sequence[Figures]) -> str:
    metrics = manifest.metrics
    if method == "ppo":
        updates = [line for line in log if "objective/score" in line]
        shown = [updates[i] for i in sorted({0, len(updates) // 2, len(updates) - 1})] if updates else []
        header = ["update", *_TRAINING.values()]
        rows = [[f"{u['update']:.0f}", *(f"{u[k]:.3f}" if k in u else "" for k in _TRAINING)] for u in shown]
        kept = f"{metrics['updates']} updates; the weights are those after update {metrics['kept_update']}."
        return f"{kept}\n\n{Table(header, rows).markdown()}"
    splits = {split: metrics[split] for split in ("valid", "test")}
    names = list(splits["valid"])
    rows = [[split, *(f"{figures[n]:.4f}" for n in names)] for split, figures in splits.items()]
    table = Table(["split", *names], rows).markdown()
    kept = f"{metrics['num_train']} records; epoch {metrics['epoch']} is kept, by the loss on valid."
    ordered = metrics.get("test_accuracy_interval")
    as_people = f"\n\nTest pairs that it orders as people did: {interval(ordered)}." if ordered else ""
    return f"{kept}{left_out(metrics)}{ties_left_out(metrics)}\n\n{table}{as_people}"


def left_out(metrics: Figures) -> str:
    """A sentence about records that were too long, or none; an older run counted those of train alone."""
    counts = {split: metrics.get(f"num_{split}_too_long", 0) for split in ("train", "valid", "test")}
    told = ", ".join(f"{count} of {split}" for split, count in counts.items() if count)
    return f" Too long for `max_tokens`, and left out: {told}." if told else ""


def _lineage(manifest: Manifest) -> str:
    parents = manifest.parents
    base = parents["base"]
    libraries = ", ".join(f"{n} {parents[n]}" for n in ("torch", "transformers", "peft", "accelerate"))
    judges = [(key, parents[key]) for key in ("reward", "gold") if parents.get(key)]
    rows = [
        ["base", f"`{base['source']}`, weights SHA-256 {base['weights_sha256']}"],
        ["config", f"`config.yaml`, SHA-256 {parents['config_sha256']}"],
        *(["data", f"{name}, SHA-256 {digest}"] for name, digest in parents["data_sha256"].items()),
        *([key, f"{judge.get('name', '')}, digest {judge.get('digest', '')}"] for key, judge in judges),
        ["code", f"git revision {parents['git_revision'] or 'unknown'}"],
        ["libraries", libraries],
    ]
    return Table(["what", "which"], rows).markdown()
