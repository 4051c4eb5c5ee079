"""Whether a model refuses at the right time: both directions of pairs that were made to show it.

A head that likes every refusal is right about unsafe prompts and wrong about safe ones, and its accuracy over
both hides that (Röttger et al., arXiv 2308.01263).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.manifest import Head, Profile
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_training.config import RewardConfig
from guerdon_training.measure import Scored, calibration_figures, profile_slopes

COMPLY, REFUSE = "comply", "refuse"


def directions(
    scored: Sequence[Scored], heads: Sequence[Head], profiles: Mapping[str, Profile], sources: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """``{"comply" | "refuse": {profile: figures}}`` on the pairs of `sources`, as plain JSON values.

    Figures are ``num_pairs``, ``num_prompts`` and the accuracy with its interval over prompts. A pair of a
    subset that begins with ``contrast`` asks for a refusal, any other for compliance.
    """
    own = [s for s in scored if s.tagged.pair.source in sources]
    parts = {
        COMPLY: [s for s in own if not s.tagged.pair.subset.startswith("contrast")],
        REFUSE: [s for s in own if s.tagged.pair.subset.startswith("contrast")],
    }
    weights = {name: profile_slopes(heads, profile.weights) for name, profile in profiles.items()}
    return {
        part: {name: _figures(pairs, w) for name, w in weights.items()}
        for part, pairs in parts.items()
        if pairs
    }


def profile_metrics(
    config: RewardConfig,
    scored: Sequence[Scored],
    heads: Sequence[Head],
    profiles: Mapping[str, Profile],
    calibration: Calibration,
) -> dict[str, Any]:
    """What a manifest's `metrics` say of the profiles on test: ``calibration`` of the default one, and
    ``directions`` where a source was crossed.
    """
    default = next(iter(profiles.values()))
    found = {"calibration": {"test": calibration_figures(scored, heads, default.weights, calibration)}}
    crossed = [s.source for head in config.heads for s in head.sources if s.crossed]
    return found | ({"directions": {"test": directions(scored, heads, profiles, crossed)}} if crossed else {})


def _figures(pairs: Sequence[Scored], weights: NDArray[np.float64]) -> dict[str, Any]:
    margins = [0.0 if s.raw is None else float((s.raw[0] - s.raw[1]) @ weights) for s in pairs]
    clusters = [s.tagged.pair.cluster for s in pairs]
    right = (np.sign(margins) + 1.0) / 2.0
    return {
        "num_pairs": len(pairs),
        "num_prompts": len(set(clusters)),
        "accuracy": asdict(clustered_rate(right, clusters)),
    }
