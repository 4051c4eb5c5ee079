"""What a reward artifact is worth on held-out pairs, from the scores that its recipe stored."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guerdon_service.core.calibration import probability
from guerdon_service.core.combine import combine
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.result import Score
from guerdon_service.core.statistics.calibration_error import CalibrationError, calibration_error
from guerdon_service.core.statistics.correlation import spearman
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.rates import wilson
from guerdon_training.card import NO_SOURCE
from guerdon_training.config import HeadConfig
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.tagging import tag

MIN_SUBSET = 20
"""Pairs that a subset needs for a line of its own; below that its interval is wider than 0.4."""


@dataclass(frozen=True, slots=True)
class SubsetAccuracy:
    """Accuracy of one attribute on one subset, beside what needs no model. A tie counts one half.

    name: ``source`` or ``source / subset``. ceiling: the best that the votes' noise allows; None unknown.
    longer, shorter: accuracy of preferring by characters alone. Guessing is right half of the time.
    """

    attribute: str
    name: str
    num_pairs: int
    accuracy: Interval
    longer: float
    shorter: float
    ceiling: float | None

    @property
    def share_of_ceiling(self) -> float | None:
        """Accuracy over the ceiling."""
        return None if self.ceiling is None else self.accuracy.value / self.ceiling


@dataclass(frozen=True, slots=True)
class RewardQuality:
    """profile: the calibrated one. length_correlation: Spearman's, of margins and length differences.

    calibration: of the profile, on the pairs that it is meant for, as its slope was fitted: what people
        preferred for an attribute that it does not weigh says nothing about its probabilities.
    """

    profile: str
    accuracies: tuple[SubsetAccuracy, ...]
    calibration: CalibrationError
    length_correlation: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Judged:
    pair: PreferencePair
    attribute: str
    chosen: Score
    rejected: Score

    @property
    def length_difference(self) -> float:
        return float(len(self.pair.chosen) - len(self.pair.rejected))

    def margin(self, attribute: str) -> float:
        return self.chosen.attributes[attribute] - self.rejected.attributes[attribute]


def measure_reward(
    folder: Path,
    manifest: Manifest,
    heads: Sequence[HeadConfig],
    test: Path,
    ceilings: Mapping[str, float],
) -> RewardQuality:
    """Read an artifact's ``scores.jsonl`` of the split ``test``.

    Args:
        ceilings: best possible accuracy by source, from the audit of the votes.
    """
    judged = _read(folder, manifest, heads, test)
    found: list[SubsetAccuracy] = []
    for head in heads:
        own = [j for j in judged if j.attribute == head.name]
        found.append(_accuracy(head.name, "all", own, None))
        for source in dict.fromkeys(j.pair.source for j in own):
            of_source = [j for j in own if j.pair.source == source]
            found.append(_accuracy(head.name, source or NO_SOURCE, of_source, ceilings.get(source)))
            subsets = dict.fromkeys(j.pair.subset for j in of_source)
            parts = {s: [j for j in of_source if j.pair.subset == s] for s in subsets}
            found += [
                _accuracy(head.name, f"{source or NO_SOURCE} / {s}", part, None)
                for s, part in parts.items()
                if s and len(parts) > 1 and len(part) >= MIN_SUBSET
            ]
    name, profile = manifest.profile(None)
    meant = [j for j in judged if profile.weights.get(j.attribute, 0.0) != 0.0] or judged
    margins = [j.chosen.reward - j.rejected.reward for j in meant]
    chances = [probability(m, 0.0, manifest.calibration)[0] for m in margins]
    return RewardQuality(
        name,
        tuple(found),
        calibration_error(chances, [1.0] * len(meant), [j.pair.cluster for j in meant]),
        {head.name: _length_correlation(judged, head.name) for head in heads},
    )


def _read(folder: Path, manifest: Manifest, heads: Sequence[HeadConfig], test: Path) -> list[_Judged]:
    """Pairs that were scored; what the model refused is left out."""
    lines = map(json.loads, (folder / "scores.jsonl").read_text("utf-8").splitlines())
    raw = {(x["id"], x["head"]): x["raw"] for x in lines if x["split"] == "test" and x["raw"] is not None}
    profile = manifest.profile(None)[1]

    def scored(values: Sequence[float]) -> Score:
        row = np.array(values, np.float32)
        return combine(row, manifest, profile, tokens=0, truncated=False, cached=False)

    return [
        _Judged(t.pair, heads[t.head].name, *map(scored, raw[t.pair.id, t.head]))
        for t in tag(read_pairs(test), heads, trained=False)
        if (t.pair.id, t.head) in raw
    ]


def _accuracy(attribute: str, name: str, judged: Sequence[_Judged], ceiling: float | None) -> SubsetAccuracy:
    longer = _win_rate([j.length_difference for j in judged])
    right = _win_rate([j.margin(attribute) for j in judged])
    n = len(judged)
    return SubsetAccuracy(attribute, name, n, wilson(right * n, n), longer, 1.0 - longer, ceiling)


def _win_rate(differences: Sequence[float]) -> float:
    return float(np.mean((np.sign(differences) + 1.0) / 2.0))


def _length_correlation(judged: Sequence[_Judged], attribute: str) -> float:
    """Each pair in both directions, so that the order within it is no signal."""
    own = [j for j in judged if j.attribute == attribute]
    margins = [j.margin(attribute) for j in own]
    lengths = [j.length_difference for j in own]
    both = [[*values, *(-v for v in values)] for values in (margins, lengths)]
    return 0.0 if any(len(set(values)) == 1 for values in both) else spearman(*both)
