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
from guerdon_service.core.statistics.interval import Interval
from guerdon_training.card import NO_SOURCE
from guerdon_training.config import HeadConfig
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.evaluate import Accuracy, Judged, measure
from guerdon_training.tagging import tag

MIN_SUBSET = 20
"""Pairs that a subset needs for a line of its own; below that its interval is wider than 0.4."""


@dataclass(frozen=True, slots=True)
class SubsetAccuracy:
    """Accuracy of one attribute on one subset, beside what needs no model.

    A tie, or a refused pair, counts one half, as in `evaluate.Accuracy`.

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
    num_refused: int = 0  # files from before 2026-11-27 lack it: they left these pairs out

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
class _Scored:
    """A pair and the scores of its two responses; None where the model refused it."""

    pair: PreferencePair
    attribute: str
    scores: tuple[Score, Score] | None


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
    scored = _read(folder, manifest, heads, test)
    found: list[SubsetAccuracy] = []
    for head in heads:
        own = [s for s in scored if s.attribute == head.name]
        found.append(_accuracy(head.name, "all", own, None))
        for source in dict.fromkeys(s.pair.source for s in own):
            of_source = [s for s in own if s.pair.source == source]
            found.append(_accuracy(head.name, source or NO_SOURCE, of_source, ceilings.get(source)))
            subsets = dict.fromkeys(s.pair.subset for s in of_source)
            parts = {name: [s for s in of_source if s.pair.subset == name] for name in subsets}
            found += [
                _accuracy(head.name, f"{source or NO_SOURCE} / {name}", part, None)
                for name, part in parts.items()
                if name and len(parts) > 1 and len(part) >= MIN_SUBSET
            ]
    return RewardQuality(
        manifest.profile(None)[0],
        tuple(found),
        _calibration(scored, manifest),
        {
            h.name: _measured(h.name, [s for s in scored if s.attribute == h.name]).length_correlation
            for h in heads
        },
    )


def _read(folder: Path, manifest: Manifest, heads: Sequence[HeadConfig], test: Path) -> list[_Scored]:
    lines = map(json.loads, (folder / "scores.jsonl").read_text("utf-8").splitlines())
    raw = {(x["id"], x["head"]): x["raw"] for x in lines if x["split"] == "test"}
    profile = manifest.profile(None)[1]

    def scored(values: Sequence[float]) -> Score:
        row = np.array(values, np.float32)
        return combine(row, manifest, profile, tokens=0, truncated=False, cached=False)

    def scores(sides: Sequence[Sequence[float]] | None) -> tuple[Score, Score] | None:
        return None if sides is None else (scored(sides[0]), scored(sides[1]))

    return [
        _Scored(t.pair, heads[t.head].name, scores(raw[t.pair.id, t.head]))
        for t in tag(read_pairs(test), heads, trained=False)
        if (t.pair.id, t.head) in raw
    ]


def _calibration(scored: Sequence[_Scored], manifest: Manifest) -> CalibrationError:
    """Of the default profile, on the scored pairs that it is meant for; on all where it weighs none."""
    weights = manifest.profile(None)[1].weights
    known = [(s.attribute, s.pair, *s.scores) for s in scored if s.scores is not None]
    meant = [k for k in known if weights.get(k[0], 0.0) != 0.0] or known
    margins = [chosen.reward - rejected.reward for _, _, chosen, rejected in meant]
    chances = [probability(m, 0.0, manifest.calibration)[0] for m in margins]
    pairs = [pair for _, pair, _, _ in meant]
    return calibration_error(chances, [p.share for p in pairs], [p.cluster for p in pairs])


def _accuracy(attribute: str, name: str, scored: Sequence[_Scored], ceiling: float | None) -> SubsetAccuracy:
    found = _measured(attribute, scored)
    longer, shorter = found.longer.value, found.shorter.value
    return SubsetAccuracy(
        attribute, name, found.num_pairs, found.accuracy, longer, shorter, ceiling, found.num_refused
    )


def _measured(attribute: str, scored: Sequence[_Scored]) -> Accuracy:
    """What the recipe measures too, of the attribute in its normalised units."""

    def of(scores: tuple[Score, Score]) -> tuple[float, float]:
        return scores[0].attributes[attribute], scores[1].attributes[attribute]

    return measure([Judged(s.pair, None if s.scores is None else of(s.scores)) for s in scored])
