"""What a reward model's quality, robustness and slices look like, for card and page alike."""

from collections.abc import Sequence

from guerdon_training.report.plots import Series, line_plot
from guerdon_training.report.reward_quality import RewardQuality
from guerdon_training.report.robustness import Reaction
from guerdon_training.report.slices import GroupAgreement
from guerdon_training.report.table import Table, interval

NOT_TESTED = (
    "Attacks that search for a text that scores high: the transforms below are fixed.",
    "Prompts and responses longer than what the model reads, except that they are refused or cut.",
)
"""What no figure of a reward model's card covers."""


def accuracy_table(quality: RewardQuality) -> Table:
    """A row a subset, beside the baselines and the noise ceiling. Guessing is right half of the time."""
    header = (
        "pairs of",
        "n",
        "accuracy (Wilson 95 %)",
        "longer wins",
        "shorter wins",
        "random",
        "of ceiling",
        "refused",
    )
    rows = [
        (
            f"{a.attribute}: {a.name}",
            str(a.num_pairs),
            interval(a.accuracy),
            f"{a.longer:.3f}",
            f"{a.shorter:.3f}",
            "0.500",
            "no votes" if a.share_of_ceiling is None else f"{a.share_of_ceiling:.0%} of {a.ceiling:.3f}",
            str(a.num_refused),
        )
        for a in quality.accuracies
    ]
    return Table(header, rows)


def calibration_table(quality: RewardQuality) -> Table:
    """Calibration of the default profile, and how much the reward leans on length."""
    error = quality.calibration
    rows = [
        (f"ECE, profile {quality.profile}", interval(error.ece)),
        ("Brier score (0.25 is a coin)", interval(error.brier)),
        ("log loss, nats (0.693 is a coin)", interval(error.nll)),
        *(
            (f"reward-length correlation, {name}", f"{value:+.3f}")
            for name, value in quality.length_correlation.items()
        ),
    ]
    return Table(("figure", "value [95 %]"), rows)


def reliability_table(quality: RewardQuality) -> Table:
    """The bins of the reliability plot."""
    rows = [(f"{b.confidence:.3f}", str(b.num_items), interval(b.accuracy)) for b in quality.calibration.bins]
    return Table(("confidence", "pairs", "accuracy (Wilson 95 %)"), rows)


def reliability_plot(quality: RewardQuality) -> str:
    """Confidence in the preferred side against how often it was right."""
    bins = quality.calibration.bins
    series = Series(
        "measured",
        [b.confidence for b in bins],
        [b.accuracy.value for b in bins],
        [b.accuracy.low for b in bins],
        [b.accuracy.high for b in bins],
    )
    return line_plot("Reliability on test pairs", "confidence", [series], diagonal=True)


def robustness_table(reactions: Sequence[Reaction]) -> Table:
    """A row a transform."""
    header = ("transform", "should", "change of reward [95 %]", "overtakes the better [95 %]", "n", "refused")
    rows = [
        (
            r.transform,
            "stay" if r.keeps_meaning else "not rise",
            "all refused" if r.change is None else interval(r.change, sign=True),
            "none" if r.overtakes is None else interval(r.overtakes),
            str(r.num_pairs),
            str(r.num_refused),
        )
        for r in reactions
    ]
    return Table(header, rows)


def slice_table(groups: Sequence[GroupAgreement]) -> Table:
    """A row a group."""
    header = ("attribute", "group", "people", "agreement [95 %]")
    return Table(header, [(g.attribute, g.group, str(g.num_people), interval(g.agreement)) for g in groups])
