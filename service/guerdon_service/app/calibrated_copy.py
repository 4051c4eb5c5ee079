"""What ``guerdon calibrate`` writes: the same weights, a whole manifest, a version of its own."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from guerdon_service.app.artifact_copy import copy_artifact, seal
from guerdon_service.app.calibration_of_pairs import Fitted
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.lineage import CALIBRATION
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.whole_file import write_whole

CARD = "MODEL_CARD.md"
_SUFFIX = re.compile(r"-cal-[0-9a-f]{8}$")
_MAX_STEM = 51
"""Characters of the version that was calibrated, so that the new one has 64 at most."""


def write_calibrated(copy: Path, artifact: Artifact, fitted: Fitted, data_digest: str) -> Manifest:
    """Write `artifact` to the new folder `copy`, with what was fitted; its manifest as sealed.

    Args:
        data_digest: SHA-256 (hex) of the pairs.
    """
    old = artifact.manifest
    copy_artifact(artifact, copy)
    source = {"name": old.name, "version": old.version, "digest": old.digest, "data_sha256": data_digest}
    new = replace(
        old,
        version=_version(old, data_digest),
        heads=fitted.heads,
        calibration=fitted.calibration,
        parents={**old.parents, CALIBRATION: source},
        metrics={k: v for k, v in old.metrics.items() if k != "calibration"},  # it was of another slope
        inferred=(),
    )
    card = copy / CARD
    if card.is_file():
        write_whole(card, card.read_text("utf-8").rstrip("\n") + _card(old, new, fitted))
    return seal(copy, new)


def _version(old: Manifest, data_digest: str) -> str:
    """The old one's, and digits that depend on model and pairs: one version has one digest."""
    made_from = hashlib.sha256(f"{old.digest} {data_digest}".encode()).hexdigest()
    return f"{_SUFFIX.sub('', old.version)[:_MAX_STEM]}-cal-{made_from[:8]}"


def _card(old: Manifest, new: Manifest, fitted: Fitted) -> str:
    norms = ", ".join(f"{h.name} mean {h.norm.mean:.3f}, std {h.norm.std:.3f}" for h in new.heads)
    slope = new.calibration
    return (
        f"\n\n## Version {new.version}: calibrated again\n\n"
        f"The weights of version {old.version}. What stands above of normalisation and calibration is of that"
        f" version; `guerdon calibrate` fitted both again on {slope.num_pairs} pairs of {fitted.num_prompts} "
        f"prompts (SHA-256 {new.parents[CALIBRATION]['data_sha256']}): {norms}; P(a preferred) = "
        f"sigmoid({slope.slope:.3f} x margin), standard error {slope.slope_se:.3f}.\n"
    )
