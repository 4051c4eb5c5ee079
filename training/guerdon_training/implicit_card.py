"""The model card of an implicit reward, written from measured figures only."""

from collections.abc import Mapping
from typing import Any

from guerdon_service.core.manifest import Manifest
from guerdon_service.core.statistics.calibration_fit import doubt
from guerdon_training.card import ties_left_out
from guerdon_training.report.interval_text import interval_text


def render_card(manifest: Manifest, num_ties: Mapping[str, int]) -> str:
    """Markdown card of a measured but not yet sealed artifact.

    Args:
        num_ties: see `ties_left_out`.
    """
    ((attribute, figures),) = manifest.metrics.items()
    rule, policy, reference = manifest.implicit, manifest.parents["policy"], manifest.parents["reference"]
    assert rule is not None
    why = doubt(manifest.calibration)
    unsure = f"Not sure: {why}.\n\n" if why else ""
    rows = "".join(_row(split, found["pooled"]) for split, found in figures.items())
    return (
        f"# {manifest.name} {manifest.version}\n\n"
        f"The implicit reward `{attribute}` of the policy {policy['name']} {policy['version']} against its "
        f"reference {reference['source']}: {rule.beta:g} times the "
        f"{'mean' if rule.per_token else 'sum'} over the response's tokens of the log-probability ratio. It "
        "compares responses to one prompt; between prompts it is known up to a constant alone, so its "
        "normalisation gives it a scale, not a zero that means something.\n\n"
        f"Calibrated on {manifest.calibration.num_pairs} valid pairs: P(a preferred) = "
        f"sigmoid({manifest.calibration.slope:.3f} x margin).\n\n"
        f"{unsure}"
        "A pair with a response that does not fit is refused, and counts one half."
        f"{ties_left_out(num_ties)}\n\n"
        "| split | pairs | refused | accuracy (Wilson 95 %) | over the better length baseline (95 %) |\n"
        "|---|---|---|---|---|\n"
        f"{rows}"
    )


def _row(split: str, found: Mapping[str, Any]) -> str:
    accuracy, over = (interval_text(found[key]) for key in ("accuracy", "over_baseline"))
    return f"| {split} | {found['num_pairs']} | {found['num_refused']} | {accuracy} | {over} |\n"
