"""The composition root: settings to the whole domain layer, with its models, state, cache and metrics."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from guerdon_service.app.audit_trail import AuditTrail
from guerdon_service.app.debug_state import DebugState
from guerdon_service.app.default_model import check_default
from guerdon_service.app.judges import open_judges
from guerdon_service.app.lazy_policy import default_policy
from guerdon_service.app.loader import default_spec, load_model
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.policies import load_policies
from guerdon_service.app.settings import Settings
from guerdon_service.bestofn.logged import LoggedBestOfN
from guerdon_service.bestofn.policy_service import PolicyEvaluationService
from guerdon_service.bestofn.retention import prune_candidates
from guerdon_service.bestofn.service import BestOfNService
from guerdon_service.cache.tiered import TieredCache, open_cache
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.ports import Observer
from guerdon_service.core.registry import CHAMPION
from guerdon_service.core.services import Services
from guerdon_service.engine.engine import CLOSE_TIMEOUT_S
from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.feedback.service import FeedbackService
from guerdon_service.registry.model_store import ModelStore
from guerdon_service.registry.registry import Registry
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.model_scorer import ENCODE_THREADS
from guerdon_service.scoring.service import ScoringService
from guerdon_service.shadow.drift_monitor import DriftMonitor
from guerdon_service.shadow.feedback import JudgingFeedback
from guerdon_service.shadow.scorer import ShadowingScorer
from guerdon_service.shadow.stops import Stops
from guerdon_service.shadow.trials import Trials
from guerdon_service.state.audit_store import SqlAuditStore
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import Database, open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.feedback_store import SqlFeedbackStore
from guerdon_service.state.registry_store import SqlRegistryStore

IN_MEMORY = "sqlite://"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Domain:
    """The domain layer of one replica. For one event loop."""

    scoring: ScoringService
    best_of_n: BestOfNService
    candidate_log: LoggedBestOfN | None
    """Around `best_of_n` where candidates are kept."""
    candidates: SqlCandidateStore
    candidates_kept_days: float | None
    evaluations: EvaluationService
    registry: Registry
    feedback: JudgingFeedback
    policy_evaluations: PolicyEvaluationService
    shadowing: ShadowingScorer
    stops: Stops
    audit: AuditTrail
    inspector: DebugState
    database: Database
    background: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def services(self) -> Services:
        """What the transports see of it."""
        best_of_n = self.candidate_log or self.best_of_n
        return Services(
            self.shadowing,
            best_of_n,
            self.evaluations,
            self.registry,
            self.feedback,
            self.policy_evaluations,
            self.audit,
            self.inspector,
        )

    def start(self) -> None:
        """Follow the registry, work on evaluations and remove what is too old, until closed."""
        works = [self.registry.follow(), self.evaluations.run(), self.stops.run()]
        if self.candidates_kept_days is not None:
            works.append(prune_candidates(self.candidates, self.candidates_kept_days))
        self.background.extend(asyncio.create_task(work) for work in works)

    async def close(self) -> None:
        """Stop the work of its own, then let everything go; an evaluation that is cut short goes on later."""
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)
        await self.policy_evaluations.close()
        # a policy that hangs, or is being loaded, is left alone with its thread
        await asyncio.wait([asyncio.create_task(self.best_of_n.close())], timeout=CLOSE_TIMEOUT_S)
        if self.candidate_log is not None:
            await self.candidate_log.close()
        await self.feedback.close()
        await self.shadowing.close()
        self.database.close()


async def build(settings: Settings, observer: PrometheusObserver) -> Domain:
    """The domain layer with an empty catalog; then `start`.

    Raises:
        GuerdonError: the state database cannot be used.
    """
    database = await _database(settings)
    cache = open_cache(observer, redis_url=settings.redis_url, l1_bytes=settings.cache_bytes)
    catalog = build_catalog(settings, observer, cache)
    catalog.expect(spec.name for spec in specs(settings))  # before the ports open
    scoring = ScoringService(catalog, settings.limits, observer)
    evaluations = SqlEvaluationStore(database)
    trials = Trials(catalog, settings.shadow.plan, observer)
    feedback = FeedbackService(SqlFeedbackStore(database), settings.limits)
    best_of_n = BestOfNService(scoring, (), settings.limits)
    candidates = SqlCandidateStore(database)
    registry_store = SqlRegistryStore(database)
    registry = _registry(settings, registry_store, evaluations, catalog)
    return Domain(
        scoring=scoring,
        best_of_n=best_of_n,
        candidate_log=LoggedBestOfN(best_of_n, candidates) if settings.log_candidates else None,
        candidates=candidates,
        candidates_kept_days=settings.candidates_kept_days,
        evaluations=EvaluationService(scoring, evaluations, settings.data_folder, registry.keep_loaded),
        registry=registry,
        feedback=JudgingFeedback(feedback, scoring, trials),
        policy_evaluations=PolicyEvaluationService(
            scoring, best_of_n.policy, settings.limits, open_judges(settings)
        ),
        shadowing=ShadowingScorer(scoring, trials, DriftMonitor(observer)),
        stops=Stops(registry_store, trials),
        audit=AuditTrail(SqlAuditStore(database)),
        inspector=DebugState(catalog, cache),
        database=database,
    )


async def _database(settings: Settings) -> Database:
    if settings.state_url is None:
        _LOG.warning(
            "state is kept in memory: registry, evaluations and feedback end with this process; set state_url"
        )
    return await asyncio.to_thread(open_database, settings.state_url or IN_MEMORY)


def _registry(
    settings: Settings, store: SqlRegistryStore, evaluations: SqlEvaluationStore, catalog: Catalog
) -> Registry:
    """Its versions are loaded as the settings load models, unless they name them."""
    template = ModelSpec("", "", settings.backend, settings.dtype, settings.device, devices=settings.devices)
    return Registry(
        store, evaluations, catalog, ModelStore(settings.model_store), template, policy=settings.gate
    )


def build_catalog(settings: Settings, observer: Observer, cache: TieredCache | None = None) -> Catalog:
    """An empty catalog with its tokenizing threads, and a cache of its own unless one is given."""
    cache = cache or open_cache(observer, redis_url=settings.redis_url, l1_bytes=settings.cache_bytes)
    pool = ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="guerdon-tokenize")
    load = partial(load_model, num_threads=settings.threads)
    return Catalog(load, settings.limits, cache, pool, observer, settings.default_model)


async def start(domain: Domain, settings: Settings) -> None:
    """Load and register what the settings name, or the embedded default model, and begin to work.

    Readiness begins once the models that the registry has beside them are loaded too, or refused.
    Without policies in the settings there is the default one, which loads when it is first asked.

    Raises:
        GuerdonError: the first policy or model that is refused, or a `default_model` that nobody can serve.
    """
    models = specs(settings)
    named = [spec.name for spec in models]
    registered = [model for model in await domain.registry.models() if model.kind == "reward"]
    check_default(settings, [*named, *(model.name for model in registered)])
    domain.scoring.catalog.expect([*named, *(m.name for m in registered if CHAMPION in m.aliases)])
    await domain.stops.sync()  # first: a candidate that was stopped gets no traffic
    for policy in await asyncio.to_thread(load_policies, settings) or (default_policy(settings),):
        domain.best_of_n.add(policy)
    await _load(domain, models)
    domain.start()


async def _load(domain: Domain, models: Sequence[ModelSpec]) -> None:
    """The models of the settings one by one, what the registry has beside them, then ensembles of both."""
    catalog, ensembles = domain.scoring.catalog, [spec for spec in models if spec.members]
    for spec in models:
        if not spec.members:
            await domain.registry.adopt(spec)
    await domain.registry.catch_up()
    catalog.expect(spec.name for spec in ensembles)  # a member that is missing now is unknown
    for spec in ensembles:
        await domain.registry.adopt(spec)
    catalog.expect(())


def build_scorer(settings: Settings, observer: Observer) -> ScoringService:
    """Scoring alone, with an empty catalog; call inside the event loop, then `load_models`."""
    return ScoringService(build_catalog(settings, observer), settings.limits, observer)


async def load_models(scorer: ScoringService, settings: Settings) -> None:
    """Load what the settings name, or the embedded default model, into scoring alone.

    Raises:
        GuerdonError: the first model that is refused.
    """
    for spec in specs(settings):
        await scorer.load_model(spec)


def specs(settings: Settings) -> tuple[ModelSpec, ...]:
    """What the settings name, or the embedded default model."""
    named = settings.specs
    return named or (default_spec(settings.backend, settings.dtype, settings.device, settings.devices),)
