"""A data set of evaluations, as whoever adds one is told of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file of the data folder. `sha256` is of its bytes, in hex; evaluations of it state it too."""

    name: str
    sha256: str
    num_items: int
