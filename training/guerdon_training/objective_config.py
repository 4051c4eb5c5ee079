"""What the reward recipe minimises, as config: objective, ensemble, length disentangling."""

from dataclasses import dataclass

from guerdon_training.problems import refuse_first

KINDS = ("pairwise", "k_wise", "plackett_luce", "davidson")
MARGINS = ("", "margin", "rank_gap")
LABELS = ("hard", "votes")


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """Which likelihood, and how sure it is of each label. The functions are in `losses`.

    kind: ``pairwise``: Bradley-Terry, every pair the same weight. ``k_wise``: the same, but every prompt the
        same weight: its C(K, 2) pairs 1 / C(K, 2) each (Ouyang et al., arXiv 2203.02155, eq. 1).
        ``plackett_luce``: the likelihood of whole rankings; where a prompt's pairs compare all its responses
        exactly once each, they are ranked by wins, and else each pair is a ranking of two. ``davidson``:
        preferred, other or tie, with a learned share of ties for each head.
    labels: ``votes`` takes a pair's label from its votes, a vote for neither being half a vote for each, or
        a tie for ``davidson``; a pair without votes keeps the flip rate.
    flip_rates: JSON report of ``guerdon data audit --json``; a source that it has a flip rate for uses that
        one, the others `optim.flip_rate`. A record without a source has its file's name for one.
    margin: the record's column that says how strongly the preference is held; a pair without one has
        margin 0. margin_scale: its unit, in nats of reward. Touvron et al. (arXiv 2307.09288, table 27)
        give 0 to 1, or 0 to 3, to four strengths.
    """

    kind: str = "pairwise"
    labels: str = "hard"
    flip_rates: str = ""
    margin: str = ""
    margin_scale: float = 1.0

    @property
    def uses_ties(self) -> bool:
        """Whether a pair that prefers neither response says something."""
        return self.kind in ("plackett_luce", "davidson")


@dataclass(frozen=True, slots=True)
class EnsembleConfig:
    """Several models in one artifact.

    heads: outputs for each attribute on one shared trunk, each with its own start and its own bootstrap of
        the prompts. The service averages them, and their spread is the reward's `std`.
    runs: trainings from one start in different orders of the data, whose weights are averaged into one
        model: no cost at serving (Ramé et al., arXiv 2401.12187, WARM).
    """

    heads: int = 1
    runs: int = 1


@dataclass(frozen=True, slots=True)
class LengthConfig:
    """A length head beside each attribute that takes the length's part of the label, and is then dropped.

    Training fits quality plus length to the labels and keeps quality from following the length; only quality
    is served. After Chen et al. (arXiv 2402.07319, ODIN). Their length head is an output of the trunk, kept
    to the length by two more penalties; ours is the length itself with a learned slope, so that it can take
    nothing else.

    penalty: weight of `losses.length_covariance` on quality; 0 is off, without a length head.
    """

    penalty: float = 0.0


def check_objective(
    objective: ObjectiveConfig, ensemble: EnsembleConfig, length: LengthConfig, flip_rate: float
) -> None:
    """Refuse values that no run could use, and options that would be ignored.

    Args:
        flip_rate: `optim.flip_rate`.

    Raises:
        InvalidInput: the key is named.
    """
    soft = objective.labels != "hard" or objective.flip_rates or flip_rate > 0
    problems = {
        f"objective.kind must be one of {', '.join(KINDS)}": objective.kind not in KINDS,
        f"objective.labels must be one of {', '.join(LABELS)}": objective.labels not in LABELS,
        "objective.margin must be margin, rank_gap or left out": objective.margin not in MARGINS,
        "objective.margin_scale must be above 0": not objective.margin_scale > 0,
        "objective.margin_scale is the unit of objective.margin, which is not given; leave it out": (
            not objective.margin and objective.margin_scale != ObjectiveConfig().margin_scale
        ),
        "objective.margin is used by pairwise and k_wise alone; leave it out": (
            bool(objective.margin) and objective.uses_ties
        ),
        "objective.kind plackett_luce has no soft labels; drop labels, flip_rates and optim.flip_rate": (
            objective.kind == "plackett_luce" and bool(soft)
        ),
        "optim.flip_rate must be in [0, 0.5)": not 0 <= flip_rate < 0.5,
        "ensemble.heads must be at least 1": ensemble.heads < 1,
        "ensemble.runs must be at least 1": ensemble.runs < 1,
        "length.penalty must be at least 0": not length.penalty >= 0,
    }
    refuse_first(problems)
