"""What each pair says: how sure its label is, whether it is a tie, and how strongly it is held."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import PreferencePair
from guerdon_training.flip_rates import CHANCE
from guerdon_training.objective_config import ObjectiveConfig
from guerdon_training.tagging import Tagged, Target


def with_targets(
    tagged: Sequence[Tagged], objective: ObjectiveConfig, flip_rate: float, flip_rates: Mapping[str, float]
) -> list[Tagged]:
    """Each pair with its target.

    Args:
        flip_rate: of the sources that `flip_rates` lacks.

    Raises:
        InvalidInput: a column that the objective needs is in no pair, or a label says nothing: its source's
            annotators agree by chance, or the votes that it is taken from are against it.
    """
    _check_columns([t.pair for t in tagged], objective)

    def target(pair: PreferencePair) -> Target:
        label, tie = _label(pair, objective, flip_rates.get(audited_source(pair), flip_rate))
        strength = pair.margin if objective.margin == "margin" else pair.rank_gap
        margin = objective.margin_scale * (strength or 0.0) if objective.margin else 0.0
        return Target(label, tie, margin)

    return [replace(t, target=target(t.pair)) for t in tagged]


def audited_source(pair: PreferencePair) -> str:
    """The pair's source as the data audit names it: where a record has none, its file is one."""
    return pair.source or Path(pair.place.rpartition(":")[0]).name


def _label(pair: PreferencePair, objective: ObjectiveConfig, flip_rate: float) -> tuple[float, float]:
    """Probability that the chosen response is judged better, and, where ties count, that neither is."""
    votes = pair.votes
    if votes is not None and objective.labels == "votes":
        if votes.rejected > votes.chosen:
            raise InvalidInput(
                f"{pair.place} has more votes for rejected than for chosen, and config objective.labels is "
                "votes; drop the line, or set objective.labels: hard, which believes chosen",
                param="data.train",
            )
        if objective.uses_ties:
            return votes.chosen / votes.num, votes.tie / votes.num
        return pair.share, 0.0
    if pair.is_tie:
        return 0.0, 1.0
    if flip_rate >= CHANCE:
        raise InvalidInput(
            f"the annotators of source {pair.source} agree no more than by chance (its flip rate in config "
            f"objective.flip_rates is {flip_rate:g}), so its labels say nothing; leave it out of heads",
            param="objective.flip_rates",
        )
    return 1.0 - flip_rate, 0.0


def _check_columns(pairs: Sequence[PreferencePair], objective: ObjectiveConfig) -> None:
    if objective.labels == "votes" and not any(p.votes for p in pairs):
        raise InvalidInput(
            "config objective.labels is votes, but no record of data.train has votes; add them, or use hard",
            param="objective.labels",
        )
    if objective.margin and not any(getattr(p, objective.margin) for p in pairs):
        raise InvalidInput(
            f"config objective.margin is {objective.margin}, but no record of data.train has a "
            f"{objective.margin} above 0; add it, or leave objective.margin out",
            param="objective.margin",
        )
    if objective.kind == "davidson" and not any(p.is_tie or (p.votes and p.votes.tie) for p in pairs):
        raise InvalidInput(
            "config objective.kind is davidson, but data.train has no tie; add records whose votes or ranks "
            "tie, or use pairwise",
            param="objective.kind",
        )
