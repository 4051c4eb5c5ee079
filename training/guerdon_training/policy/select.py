"""Which records of a file a run uses."""

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

from guerdon_service.core.errors import InvalidInput


class Sourced(Protocol):
    """A record that says where it is from."""

    @property
    def source(self) -> str:
        """Name of the data set."""
        ...


T = TypeVar("T", bound=Sourced)


def select(records: Sequence[T], sources: Sequence[str], limit: int, seed: int, path: str) -> list[T]:
    """Records of `sources` (all for none), at most `limit` of them (all for 0), drawn with `seed`.

    Raises:
        InvalidInput: a source that the file does not hold, or a limit below 0.
    """
    if limit < 0:
        raise InvalidInput(
            f"config data keeps {limit} records of {path}; give 0 for all, or a number above", param="data"
        )
    known = {r.source for r in records}
    unknown = sorted(set(sources) - known)
    if unknown:
        raise InvalidInput(
            f"config data.sources names {', '.join(unknown)}, which {path} does not hold; it holds "
            f"{', '.join(sorted(known))}",
            param="data.sources",
        )
    kept = [r for r in records if not sources or r.source in sources]
    if limit and limit < len(kept):
        chosen = sorted(Random(seed).sample(range(len(kept)), limit))  # noqa: S311 - reproducible, no secret
        kept = [kept[i] for i in chosen]
    return kept
