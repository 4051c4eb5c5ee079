"""Values that no run could use, as sentences that begin with their key."""

from collections.abc import Mapping

from guerdon_service.core.errors import InvalidInput


def refuse_first(problems: Mapping[str, bool], section: str = "") -> None:
    """Refuse the first sentence that holds.

    Args:
        problems: whether it does, by sentence.
        section: what stands before each key, with its dot.

    Raises:
        InvalidInput: the key is named.
    """
    for sentence, wrong in problems.items():
        if wrong:
            key = sentence.split()[0].rstrip(",")
            raise InvalidInput(f"config {section}{sentence}", param=section + key)
