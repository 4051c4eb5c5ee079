"""From raw scores of held-out pairs to the manifest's numbers: normalisation, calibration, metrics."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.manifest import Head
from guerdon_service.core.statistics.calibration_error import calibration_error
from guerdon_service.core.statistics.calibration_fit import fit_norm, fit_slope
from guerdon_service.core.statistics.logistic import logistic
from guerdon_training.evaluate import Judged, measure
from guerdon_training.forward import score_rows
from guerdon_training.rows import build_rows
from guerdon_training.tagging import Tagged

MAX_BATCH_TOKENS = 1024
"""Padded tokens of one forward while measuring; no effect on the figures beyond rounding. On a CPU each token
of a forward of 8192 takes half as long again: its states no longer fit the caches."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A pair with raw scores, float64 [2, H], chosen first; None where a response does not fit."""

    tagged: Tagged
    raw: NDArray[np.float64] | None


def score_pairs(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    tagged: Sequence[Tagged],
    max_tokens: int,
    label: str,
) -> list[Scored]:
    """Score both sides of every pair with the whole model in float32, in the order given."""
    rows = build_rows(tagged, tokenizer, max_tokens)
    pad = tokenizer.pad_token_id
    raw = score_rows(model, rows.tokens, pad, max_batch_tokens=MAX_BATCH_TOKENS, label=label)
    scored = [Scored(t, None) for t in tagged]
    for position, c in zip(rows.positions, rows.comparisons, strict=True):
        scored[position] = Scored(tagged[position], raw[[c.chosen, c.rejected]].astype(np.float64))
    return scored


def write_scores(path: Path, by_split: Mapping[str, Sequence[Scored]]) -> None:
    """Raw scores of every measured pair, without its text: a later model can be compared pair by pair.

    JSON Lines: ``{"split", "id", "head", "raw": [[chosen's H], [rejected's H]] or null}``.
    """
    lines = [
        {"split": split, "id": s.tagged.pair.id, "head": s.tagged.head, "raw": _plain(s.raw)}
        for split, scored in by_split.items()
        for s in scored
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def read_scores(path: Path, split: str, tagged: Sequence[Tagged]) -> list[Scored]:
    """What `write_scores` wrote, bit for bit, joined to the pairs it was measured on.

    Raises:
        KeyError: a pair that was not measured.
    """
    records = map(json.loads, path.read_text("utf-8").splitlines())
    raw = {(r["id"], r["head"]): r["raw"] for r in records if r["split"] == split}
    found = [(t, raw[t.pair.id, t.head]) for t in tagged]
    # as float32 first: the few digits of one name another float64
    return [Scored(t, None if v is None else np.array(v, np.float32).astype(np.float64)) for t, v in found]


def _plain(raw: NDArray[np.float64] | None) -> list[list[float]] | None:
    """float32 values in as few digits as give them back."""
    return None if raw is None else [[float(str(np.float32(v))) for v in row] for row in raw]


def normalised_heads(names: Sequence[str], scored: Sequence[Scored], members: int = 1) -> tuple[Head, ...]:
    """Heads whose normalised output has mean 0 and standard deviation 1 over the responses of `scored`.

    Args:
        names: attributes. members: outputs for each, side by side; several are named ``attribute/0`` and on.
    """
    raw = np.concatenate([s.raw for s in scored if s.raw is not None])
    named = [(f"{name}/{m}" if members > 1 else name, name) for name in names for m in range(members)]
    return tuple(Head(*both, fit_norm(raw[:, i])) for i, both in enumerate(named))


def by_attribute(scored: Sequence[Scored], heads: Sequence[Head]) -> list[Scored]:
    """Scores of attributes instead of heads, float64 [2, A]: the mean of an ensemble's normalised members, as
    the service combines them.
    """
    names = list(dict.fromkeys(h.attribute for h in heads))
    which = np.array([names.index(h.attribute) for h in heads])
    mean, std = (np.array([getattr(h.norm, field) for h in heads]) for field in ("mean", "std"))
    average = (which[:, None] == np.arange(len(names))) / np.bincount(which)
    return [Scored(s.tagged, None if s.raw is None else (s.raw - mean) / std @ average) for s in scored]


def profile_slopes(heads: Sequence[Head], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Float64 [H]: a profile's reward differs by this times the difference of the raw scores."""
    members = Counter(h.attribute for h in heads)
    return np.array([weights.get(h.attribute, 0.0) / (h.norm.std * members[h.attribute]) for h in heads])


def calibration_figures(
    scored: Sequence[Scored], heads: Sequence[Head], weights: Mapping[str, float], calibration: Calibration
) -> dict[str, Any]:
    """How far a profile's calibrated probabilities are from the shares of votes, as plain JSON values:
    ``num_pairs``, and ``ece`` and ``brier`` with their intervals over prompts.
    """
    margins, clusters, shares = _margins(scored, heads, weights)
    found = calibration_error(logistic(calibration.slope * margins), shares, clusters)
    return {"num_pairs": len(margins), "ece": asdict(found.ece), "brier": asdict(found.brier)}


def fit_calibration(
    scored: Sequence[Scored], heads: Sequence[Head], weights: Mapping[str, float]
) -> Calibration:
    """Slope from a profile's margin to a probability, by the shares of votes.

    Raises:
        InvalidInput: the margins order the pairs no better than chance.
    """
    return fit_slope(*_margins(scored, heads, weights), param="data.valid")


def _margins(
    scored: Sequence[Scored], heads: Sequence[Head], weights: Mapping[str, float]
) -> tuple[NDArray[np.float64], list[str], list[float]]:
    """A profile's margins, the prompts, and the shares of votes for the chosen response, of the pairs that it
    is meant for: those of attributes that it weighs. What people prefer for another reason says nothing about
    its probabilities.
    """
    attributes = tuple(dict.fromkeys(h.attribute for h in heads))
    kept = [s for s in scored if s.raw is not None and weights.get(attributes[s.tagged.head], 0.0) != 0.0]
    slopes = profile_slopes(heads, weights)
    margins = [float((s.raw[0] - s.raw[1]) @ slopes) for s in kept if s.raw is not None]
    pairs = [s.tagged.pair for s in kept]
    return np.array(margins), [p.cluster for p in pairs], [p.share for p in pairs]


def accuracies(scored: Sequence[Scored], head_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``{head: {"pooled" | source: figures}}``: each head on its own pairs, as plain JSON values."""
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(head_names):
        own = [s for s in scored if s.tagged.head == number]
        sources = dict.fromkeys(s.tagged.pair.source for s in own)
        groups = {"pooled": own} | {
            k: [s for s in own if s.tagged.pair.source == k] for k in sources if k != "pooled"
        }
        found[name] = {k: asdict(measure([_judged(s) for s in group])) for k, group in groups.items()}
    return found


def _judged(scored: Scored) -> Judged:
    if scored.raw is None:
        return Judged(scored.tagged.pair, None)
    chosen, rejected = scored.raw[:, scored.tagged.head]
    return Judged(scored.tagged.pair, (float(chosen), float(rejected)))
