"""That no prompt is in two splits: what is measured on one would have been learned, or fitted, on another."""

from collections.abc import Iterable, Mapping, Sequence

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.fold import fold_prompt


def check_splits(
    files: Mapping[str, str], records: Mapping[str, Iterable[tuple[str, Sequence[Message]]]]
) -> None:
    """Refuse a prompt that is in two splits, compared as the audit does: case and white space apart.

    Args:
        files: file by split. records: id and prompt of what is used of each.

    Raises:
        InvalidInput: two files and a record of each are named.
    """
    places: dict[str, tuple[str, str]] = {}
    for split, found in records.items():
        for name, prompt in found:
            first, other = places.setdefault(fold_prompt(prompt), (split, name))
            if first != split:
                raise InvalidInput(
                    f"{files[first]} (record {other}) and {files[split]} (record {name}) share a prompt, but "
                    f"one is data.{first} and one data.{split}; put every prompt in one split (guerdon data "
                    "audit lists them)",
                    param="data",
                )
