"""A champion, a candidate and what watches them, over fakes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.feedback import Agreement, Feedback
from guerdon_service.core.registry import CANDIDATE
from guerdon_service.scoring.service import ScoringService
from guerdon_service.shadow.drift import DriftFigures
from guerdon_service.shadow.drift_monitor import DriftMonitor
from guerdon_service.shadow.feedback import JudgingFeedback
from guerdon_service.shadow.plan import ShadowPlan
from guerdon_service.shadow.scorer import ShadowingScorer
from guerdon_service.shadow.trial import Trial
from guerdon_service.shadow.trials import Trials
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest, running_service

NAME, CHAMPION_VERSION, CANDIDATE_VERSION = "fake", "1", "2"
SCALES = {"good": 1e-4, "double": 2e-4, "opposite": -1e-4}


@dataclass
class Recorded:
    """What the observers were told."""

    trials: list[Trial] = field(default_factory=list)
    looks: list[tuple[str, str, DriftFigures]] = field(default_factory=list)

    def trial(self, trial: Trial) -> None:
        self.trials.append(trial)

    def drift(self, model: str, measure: str, figures: DriftFigures) -> None:
        self.looks.append((model, measure, figures))


class Kept:
    """A `FeedbackTaker` that keeps everything in memory."""

    def __init__(self) -> None:
        self.all: list[Feedback] = []

    async def submit(self, feedback: Feedback) -> Feedback:
        self.all.append(feedback)
        return feedback

    async def agreement(self, tenant: str | None) -> Agreement:
        raise AssertionError("a shadow asks for no agreement")


@dataclass(frozen=True)
class Trio:
    inner: ScoringService
    scorer: ShadowingScorer
    feedback: JudgingFeedback
    trials: Trials
    recorded: Recorded
    kept: Kept

    async def settled(self) -> Trial:
        """The latest trial once nothing is at work."""
        await self.scorer.idle()
        await self.feedback.idle()
        return self.recorded.trials[-1]


def load(spec: ModelSpec) -> LoadedModel:
    """A version is what its source says: ``good`` is version 1, everything else version 2."""
    version = CHAMPION_VERSION if spec.source == "good" else CANDIDATE_VERSION
    made = manifest(spec.name, version=version, digest=f"digest-{version}")
    return LoadedModel(spec, made, CodePointEncoder(), WeightedSumBackend(SCALES[spec.source]))


@asynccontextmanager
async def trio(
    plan: ShadowPlan, candidate: str = "double", loader: Callable[[ModelSpec], LoadedModel] = load
) -> AsyncIterator[Trio]:
    """Version 1 is the champion, version 2 of the given source the candidate."""
    async with running_service(load=loader) as service:
        await service.catalog.load_version(
            ModelSpec(NAME, candidate), CANDIDATE_VERSION, f"digest-{CANDIDATE_VERSION}"
        )
        service.catalog.point({(NAME, CANDIDATE): CANDIDATE_VERSION})
        recorded, kept = Recorded(), Kept()
        trials = Trials(service.catalog, plan, recorded)
        scorer = ShadowingScorer(service, trials, DriftMonitor(recorded))
        feedback = JudgingFeedback(kept, service, trials)
        yield Trio(service, scorer, feedback, trials, recorded, kept)
        await scorer.idle()
        await feedback.close()
