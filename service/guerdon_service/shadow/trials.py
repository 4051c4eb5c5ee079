"""Every trial under way, by model name; who may answer, and what became known."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import NotReady, UnknownModel
from guerdon_service.core.query import Options
from guerdon_service.core.registry import CANDIDATE, CHAMPION
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.shadow.plan import ShadowPlan
from guerdon_service.shadow.trial import Trial

log = logging.getLogger(__name__)


class TrialObserver(Protocol):
    """Where what trials show goes."""

    def trial(self, trial: Trial) -> None:
        """A trial moved on."""
        ...


class Trials:
    """At most one trial per name: its champion against its candidate, both as the catalog has them now.

    A candidate that is known to be worse, here or on another replica, gets no more traffic; a new version
    starts anew.
    """

    def __init__(self, catalog: Catalog, plan: ShadowPlan, observer: TrialObserver) -> None:
        self.plan = plan
        self._catalog = catalog
        self._observer = observer
        self._trials: dict[str, Trial] = {}
        self.stopped: frozenset[tuple[str, str]] = frozenset()
        """``(name, candidate)`` that any replica found to be worse; `stops.Stops` keeps it."""

    def of(self, model: str | None) -> Trial | None:
        """The trial behind a model as a request names it; None for a named version, and without candidate."""
        if model is not None and "@" in model:
            return None
        try:
            name = self._catalog.resolve(model).spec.name
        except (UnknownModel, NotReady):
            return None  # the request itself will be told
        aliases = self._catalog.aliases()
        champion, candidate = aliases.get((name, CHAMPION)), aliases.get((name, CANDIDATE))
        if not champion or not candidate or champion == candidate:
            return None
        if not self._catalog.is_loaded(name, candidate):
            return None
        known = self._trials.get(name)
        if known is None or (known.champion, known.candidate) != (champion, candidate):
            known = self._trials[name] = Trial(name, champion, candidate)
        return known

    def canary(self, options: Options, prompt: tuple[Message, ...]) -> Options:
        """The request's options, naming the candidate where it is to answer."""
        if not (self.plan.canary_share or self.plan.canary_tenants):
            return options
        trial = self.of(options.model)
        if trial is None or self.is_lost(trial) or not self.plan.is_canary(options, prompt):
            return options
        return replace(options, model=f"{trial.name}@{trial.candidate}")

    def is_lost(self, trial: Trial) -> bool:
        """Whether the candidate is known to be worse."""
        return (trial.name, trial.candidate) in self.stopped or self._is_worse(trial)

    def lost(self) -> tuple[Trial, ...]:
        """Trials under way here whose own evidence is that the candidate is worse."""
        under_way = [self.of(name) for name in self._trials]
        return tuple(trial for trial in under_way if trial is not None and self._is_worse(trial))

    def _is_worse(self, trial: Trial) -> bool:
        return trial.verdict(self.plan.alpha) == "worse"

    def update(self, trial: Trial, change: Callable[[Trial], Trial]) -> None:
        """Move `trial` on, unless another pair of versions took its place meanwhile."""
        now = self._trials.get(trial.name)
        if now is None or (now.champion, now.candidate) != (trial.champion, trial.candidate):
            return
        self._trials[trial.name] = changed = change(now)
        self._observer.trial(changed)
        if self.is_lost(changed) and not self.is_lost(now):
            log.warning(
                "the candidate is worse; it gets no more traffic",
                extra={"model": f"{trial.name}@{trial.candidate}", "judgements": changed.evidence.num},
            )
