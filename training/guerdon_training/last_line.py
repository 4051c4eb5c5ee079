"""The last line of `guerdon train`: where the artifact lies, and what was measured of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon_service.core.manifest import Manifest
from guerdon_service.core.statistics.calibration_fit import doubt
from guerdon_training.report.interval_text import interval_text


def last_line(manifest: Manifest, folder: Path) -> str:
    """`folder`, and the figures by which one run is told from another; the cards have all of them."""
    figures = _of_reward if manifest.kind == "reward" else _of_policy
    return f"{folder}: {figures(manifest)}"


def _of_reward(manifest: Manifest) -> str:
    """Test accuracy of each attribute of the default profile, beside what length alone would give."""
    _, profile = manifest.profile(None)
    pooled = {
        name: manifest.metrics[name]["test"]["pooled"]
        for name, weight in profile.weights.items()
        if weight and name in manifest.metrics
    }
    told = [
        f"{name}: test accuracy {interval_text(found['accuracy'])} on {found['num_pairs']} pairs"
        f"{halves(found)}, "
        f"longer wins {found['longer']['value']:.3f}, shorter wins {found['shorter']['value']:.3f}"
        for name, found in pooled.items()
    ]
    return "; ".join(filter(None, [*told, doubt(manifest.calibration)]))


def halves(found: Mapping[str, Any]) -> str:
    """What an accuracy counts as half right because the model refuses it; "" where it refuses nothing."""
    num = found.get("num_refused", 0)
    return f" ({num} of them too long, which counts as half right)" if num else ""


def _of_policy(manifest: Manifest) -> str:
    metrics = manifest.metrics
    if "updates" in metrics:
        return _of_updates(metrics)
    loss = f"test loss {metrics['test']['loss']:.4g}"
    num_left_out = metrics.get("num_test_too_long", 0)  # an older run's has none
    left_out = f"; too long for max_tokens and left out: {num_left_out} of test" if num_left_out else ""
    if "test_accuracy_interval" in metrics:
        return f"{loss}, test accuracy {interval_text(metrics['test_accuracy_interval'])}{left_out}"
    return f"{loss}, perplexity {metrics['test']['perplexity']:.4g}{left_out}"


def _of_updates(metrics: Mapping[str, Any]) -> str:
    """Reward and KL of the weights that were kept, on valid prompts where they were measured there."""
    start, kept = metrics["start"], metrics.get("kept", {})  # an older run's has none
    told = f"update {metrics['kept_update']} of {metrics['updates']} kept"
    on = "valid" if "valid/score" in kept else "objective"
    if f"{on}/score" not in kept:
        return told
    before = f" (before {start[f'{on}/score']:.3f})" if f"{on}/score" in start else ""
    return f"{told}: score {kept[f'{on}/score']:.3f}{before}, KL {kept[f'{on}/kl']:.2f} nats a response"
