"""The seam between a bulk run and what carries it out."""

from collections.abc import Generator, Sequence
from typing import Protocol

from guerdon_service.bulk.part import Finished
from guerdon_service.bulk.plan import Slice
from guerdon_service.bulk.worker import Job


class Engine(Protocol):
    """Processes that each hold a `Worker`."""

    @property
    def name(self) -> str:
        """As the command line has it."""
        ...

    def run(self, job: Job, slices: Sequence[Slice]) -> Generator[Finished]:
        """Have every slice worked on until it is done, a killed process' slice by another one.

        Yields each as it is finished, in any order. Closing the iterator stops the work; what is under way
        is dropped, which leaves nothing half-written.

        Raises:
            GuerdonError: one that concerns no single row, or workers that keep dying.
        """
        ...
