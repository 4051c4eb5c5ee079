"""What a reward model makes of refusals, for card and page alike."""

from guerdon_service.core.manifest import Manifest
from guerdon_training.report.table import Table, interval

DIRECTIONS = (
    "Test pairs of prompts that only sound harmful (comply), and of harmful ones (refuse). The interval "
    "is over prompts. A model that is right in one direction alone likes, or dislikes, every refusal."
)


def directions_table(manifest: Manifest) -> Table | None:
    """A row a profile and direction; None where `directions.profile_metrics` found no tagged source."""
    if "directions" not in manifest.metrics:
        return None
    rows = [
        (profile, part, str(found["num_pairs"]), str(found["num_prompts"]), interval(found["accuracy"]))
        for part, by_profile in manifest.metrics["directions"]["test"].items()
        for profile, found in by_profile.items()
    ]
    return Table(("profile", "the better answer should", "n", "prompts", "accuracy (95 %)"), rows)
