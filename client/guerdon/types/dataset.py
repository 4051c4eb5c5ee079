"""A data set of evaluations."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file of the service's data folder. `sha256` is of its bytes, in hex; evaluations state it too."""

    name: str
    sha256: str
    num_items: int
