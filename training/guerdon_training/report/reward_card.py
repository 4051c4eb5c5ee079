"""What is added to a reward model's card once it was looked at from all sides."""

from collections.abc import Sequence

from guerdon_training.report.reward_quality import RewardQuality
from guerdon_training.report.reward_tables import (
    NOT_TESTED,
    accuracy_table,
    calibration_table,
    reliability_table,
    robustness_table,
    slice_table,
)
from guerdon_training.report.robustness import Reaction
from guerdon_training.report.slices import GroupAgreement


def reward_card(
    quality: RewardQuality, reactions: Sequence[Reaction], groups: Sequence[GroupAgreement]
) -> str:
    """Markdown sections, to follow what the recipe wrote."""
    parts = [
        "## Accuracy by subset, on test pairs",
        accuracy_table(quality).markdown(),
        SUBSETS,
        "## Calibration, on test pairs",
        calibration_table(quality).markdown(),
        reliability_table(quality).markdown(),
        "## Robustness",
        ROBUSTNESS,
        robustness_table(reactions).markdown(),
        "## Groups of people",
        GROUPS if groups else "Not measured: no ratings with demographics were given.",
        *([slice_table(groups).markdown()] if groups else []),
        "## Not tested",
        "\n".join(f"- {sentence}" for sentence in NOT_TESTED),
    ]
    return "\n\n".join(parts) + "\n"


SUBSETS = """\
A tie, or a pair with a response too long for the model, counts one half; *refused* counts the latter. *Of
ceiling*: accuracy over the best that the annotators' disagreement allows, where several voted."""

ROBUSTNESS = """\
Each transform is applied to the rejected response of test pairs. *Change* is in units of the reward, whose
standard deviation over valid responses is about one. *Overtakes* is the share of the pairs ordered as people
did in which the changed response comes to win."""

GROUPS = """\
How often the reward orders two texts as a person rated them, averaged over the people of a group; guessing
gives 0.5. Groups of fewer than 10 people are left out."""
