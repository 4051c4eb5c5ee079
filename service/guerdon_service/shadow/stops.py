"""Candidates that are known to be worse, the same for all replicas and after a restart."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from guerdon_service.core.errors import InvalidInput, NotReady
from guerdon_service.core.registry import CANDIDATE, AliasChange
from guerdon_service.shadow.trial import Trial
from guerdon_service.shadow.trials import Trials

POLL_S = 1.0
"""How often replicas look for each other's stops, in seconds."""
BY = "trial"
"""Who stops a candidate."""

log = logging.getLogger(__name__)


class StopStore(Protocol):
    """The registry's memory of stops. Blocking; every method is one transaction."""

    def stop_candidate(self, change: AliasChange) -> None:
        """Keep the stop in the name's history, once; the alias stays where it is.

        Raises:
            InvalidInput: the alias no longer stands at `change.version`.
        """
        ...

    def stopped_candidates(self) -> frozenset[tuple[str, str]]:
        """``(name, version)`` of every candidate whose last change is a stop: moving the alias ends it."""
        ...


class Stops:
    """Brings what one replica found out to the registry, and what others found out to its trials.

    The evidence itself stays each replica's own: any of them may stop a candidate, each wrongly with
    probability `alpha` at most.
    """

    def __init__(self, store: StopStore, trials: Trials, now: Callable[[], float] = time.time) -> None:
        """`now` is in Unix seconds."""
        self._store = store
        self._trials = trials
        self._now = now

    async def run(self, poll_s: float = POLL_S) -> None:
        """Until cancelled; an outage of the registry is waited out: what is stopped here stays stopped."""
        while True:
            try:
                await self.sync()
            except NotReady as err:
                log.info("stops of candidates not shared yet", extra={"reason": err.message})
            await asyncio.sleep(poll_s)

    async def sync(self) -> None:
        """Write and read once.

        Raises:
            NotReady: the registry does not answer.
        """
        for trial in self._trials.lost():
            if (trial.name, trial.candidate) not in self._trials.stopped:
                await asyncio.to_thread(self._stop, trial)
        self._trials.stopped = await asyncio.to_thread(self._store.stopped_candidates)

    def _stop(self, trial: Trial) -> None:
        reason = (
            f"worse than version {trial.champion}: right in {trial.evidence.total:g} of the "
            f"{trial.evidence.num} judgements on which they differ, e-value {trial.evidence.e_value:.3g}"
        )
        change = AliasChange(
            name=trial.name,
            alias=CANDIDATE,
            action="stop",
            previous=trial.candidate,
            version=trial.candidate,
            by=BY,
            at=self._now(),
            reason=reason,
            evaluation_id=None,
            checks=(),
        )
        try:
            self._store.stop_candidate(change)
        except InvalidInput as err:  # the alias moved on meanwhile, and the trial with it
            log.info("candidate not stopped", extra={"reason": err.message})
