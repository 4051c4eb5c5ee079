"""The domain layer's faces with every call known to an `InFlight` and paid for. Each method passes it on."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from guerdon_service.app.inflight import InFlight
from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.best_of_n import BestOfN, BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.core.dataset import Dataset
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery, Evaluator
from guerdon_service.core.feedback import Agreement, Feedback, FeedbackTaker
from guerdon_service.core.inspection import Inspector
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.policy_evaluation import (
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyEvaluationQuery,
    PolicyEvaluator,
)
from guerdon_service.core.query import CompareQuery, RankQuery, ScoreQuery
from guerdon_service.core.registry import (
    AliasChange,
    ModelHistory,
    ModelVersion,
    PromoteQuery,
    RegisteredModel,
    Registrar,
)
from guerdon_service.core.result import CompareResult, RankResult, ScoreResult
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.services import Services
from guerdon_service.core.streams import closed_after
from guerdon_service.quota.limiter import Limiter

_Query = TypeVar("_Query", ScoreQuery, CompareQuery, RankQuery)
_Result = TypeVar("_Result", ScoreResult, CompareResult, RankResult)

CHARS_PER_TOKEN = 4
"""What a request is charged for before anything is tokenized; the difference is settled after it."""


def tracked(services: Services, calls: InFlight, limiter: Limiter) -> Services:
    """`services` whose calls `calls` counts, and refuses while it drains, and `limiter` charges."""
    return Services(
        _Scorer(services.scorer, calls, limiter),
        _BestOfN(services.best_of_n, calls, limiter),
        _Evaluator(services.evaluator, calls, limiter),
        _Registrar(services.registrar, calls),
        _FeedbackTaker(services.feedback, calls, limiter),
        _PolicyEvaluator(services.policy_evaluator, calls, limiter),
        services.audit,
        _Inspector(services.inspector, calls, limiter),
    )


@dataclass(frozen=True, slots=True)
class _Inspector:
    inner: Inspector
    calls: InFlight
    limiter: Limiter

    def state(self) -> Mapping[str, Any]:
        calls = {"under_way": self.calls.num_calls, "draining": self.calls.is_draining}
        return {**self.inner.state(), "calls": calls, "limits": {"redis_away": self.limiter.is_alone}}


def _tokens(texts: Iterable[str]) -> float:
    return sum(len(text) for text in texts) / CHARS_PER_TOKEN


def _turns(prompt: Iterable[Message]) -> float:
    return _tokens(turn.content for turn in prompt)


@dataclass(frozen=True, slots=True)
class _Scorer:
    inner: Scorer
    calls: InFlight
    limiter: Limiter

    async def score(self, query: ScoreQuery) -> ScoreResult:
        tokens = sum(item.num_chars for item in query.items) / CHARS_PER_TOKEN
        return await self._paid(self.inner.score, query, tokens)

    async def compare(self, query: CompareQuery) -> CompareResult:
        tokens = sum(2 * _turns(pair.prompt) + _tokens((pair.a, pair.b)) for pair in query.pairs)
        return await self._paid(self.inner.compare, query, tokens)

    async def rank(self, query: RankQuery) -> RankResult:
        tokens = len(query.candidates) * _turns(query.prompt) + _tokens(query.candidates)
        return await self._paid(self.inner.rank, query, tokens)

    async def _paid(
        self, ask: Callable[[_Query], Coroutine[Any, Any, _Result]], query: _Query, tokens: float
    ) -> _Result:
        options = query.options
        with self.calls.call(options.request_id):
            requests = 0.0 if options.is_retry else 1.0
            async with self.limiter.charged(options.tenant, tokens, requests) as charge:
                result = await ask(query)
                charge.tokens = result.usage.num_tokens
                return result

    async def token_ids(self, query: ScoreQuery) -> tuple[tuple[int, ...], ...]:
        options = query.options
        with self.calls.call(options.request_id):
            async with self.limiter.charged(options.tenant):
                return await self.inner.token_ids(query)

    def models(self) -> tuple[ModelInfo, ...]:
        return self.inner.models()

    def model(self, name: str) -> ModelInfo:
        return self.inner.model(name)

    def manifest(self, name: str) -> Manifest:
        return self.inner.manifest(name)

    def batch_tokens(self, name: str) -> int:
        return self.inner.batch_tokens(name)

    async def unload_model(self, name: str) -> None:
        await self.inner.unload_model(name)

    def is_ready(self) -> bool:
        return not self.unready_reason()

    def unready_reason(self) -> str:
        return "the service is draining" if self.calls.is_draining else self.inner.unready_reason()

    def begin_drain(self) -> None:
        self.calls.begin_drain()

    async def close(self) -> None:
        await self.inner.close()


@dataclass(frozen=True, slots=True)
class _BestOfN:
    inner: BestOfN
    calls: InFlight
    limiter: Limiter

    async def stream(self, query: BestOfNQuery) -> AsyncGenerator[ScoredCandidate | BestOfNResult]:
        with self.calls.call(query.options.request_id):
            async with (
                self.limiter.charged(query.options.tenant, _sampled(query)) as charge,
                closed_after(self.inner.stream(query)) as parts,
            ):
                async for part in parts:
                    if isinstance(part, BestOfNResult):
                        charge.tokens = _scored(part)
                    yield part

    async def run(self, query: BestOfNQuery) -> BestOfNResult:
        with self.calls.call(query.options.request_id):
            async with self.limiter.charged(query.options.tenant, _sampled(query)) as charge:
                result = await self.inner.run(query)
                charge.tokens = _scored(result)
                return result

    def policies(self) -> tuple[str, ...]:
        return self.inner.policies()


def _sampled(query: BestOfNQuery) -> float:
    return max(query.n, 0) * (_turns(query.prompt) + max(query.params.max_tokens, 0))


def _scored(result: BestOfNResult) -> float:
    return sum(candidate.score.tokens for candidate in result.candidates)


@dataclass(frozen=True, slots=True)
class _PolicyEvaluator:
    inner: PolicyEvaluator
    calls: InFlight
    limiter: Limiter

    async def stream(
        self, query: PolicyEvaluationQuery
    ) -> AsyncGenerator[PolicyEvaluationProgress | PolicyEvaluation]:
        with self.calls.call(query.options.request_id):
            async with (
                self.limiter.charged(query.options.tenant, _evaluated(query)),
                closed_after(self.inner.stream(query)) as parts,
            ):
                async for part in parts:
                    yield part

    async def run(self, query: PolicyEvaluationQuery) -> PolicyEvaluation:
        with self.calls.call(query.options.request_id):
            async with self.limiter.charged(query.options.tenant, _evaluated(query)):
                return await self.inner.run(query)


def _evaluated(query: PolicyEvaluationQuery) -> float:
    num_policies = len({*query.policies, query.baseline} - {None})
    one = sum(_turns(prompt.messages) + max(query.params.max_tokens, 0) for prompt in query.prompts)
    return num_policies * max(query.n, 0) * one


@dataclass(frozen=True, slots=True)
class _Evaluator:
    inner: Evaluator
    calls: InFlight
    limiter: Limiter

    async def add_dataset(self, name: str, records: Sequence[Mapping[str, Any]]) -> Dataset:
        with self.calls.call():
            return await self.inner.add_dataset(name, records)

    async def start(self, query: EvaluationQuery) -> Evaluation:
        with self.calls.call():
            async with self.limiter.charged(query.by):
                return await self.inner.start(query)

    async def get(self, evaluation_id: str) -> Evaluation:
        with self.calls.call():
            return await self.inner.get(evaluation_id)

    async def all(self) -> tuple[Evaluation, ...]:
        with self.calls.call():
            return await self.inner.all()

    async def follow(self, evaluation_id: str) -> AsyncGenerator[Evaluation]:
        with self.calls.call(follows=True):
            async with closed_after(self.inner.follow(evaluation_id)) as states:
                async for state in states:
                    yield state

    async def cancel(self, evaluation_id: str) -> Evaluation:
        with self.calls.call():
            return await self.inner.cancel(evaluation_id)

    async def report(self, evaluation_id: str, format: str) -> str:
        with self.calls.call():
            return await self.inner.report(evaluation_id, format)


@dataclass(frozen=True, slots=True)
class _Registrar:
    inner: Registrar
    calls: InFlight

    async def load(self, spec: ModelSpec, by: str) -> ModelInfo:
        return await self.inner.load(spec, by)  # a stopping service does not wait for it

    async def register(self, name: str, source: str, by: str) -> ModelVersion:
        return await self.inner.register(name, source, by)  # a stopping service does not wait for it

    async def models(self) -> tuple[RegisteredModel, ...]:
        with self.calls.call():
            return await self.inner.models()

    async def history(self, name: str) -> ModelHistory:
        with self.calls.call():
            return await self.inner.history(name)

    async def card(self, name: str, version: str) -> str:
        with self.calls.call():
            return await self.inner.card(name, version)

    async def promote(self, query: PromoteQuery) -> AliasChange:
        with self.calls.call():
            return await self.inner.promote(query)

    async def rollback(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        with self.calls.call():
            return await self.inner.rollback(name, alias, by, reason)

    async def remove_alias(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        with self.calls.call():
            return await self.inner.remove_alias(name, alias, by, reason)


@dataclass(frozen=True, slots=True)
class _FeedbackTaker:
    inner: FeedbackTaker
    calls: InFlight
    limiter: Limiter

    async def submit(self, feedback: Feedback) -> Feedback:
        with self.calls.call():
            async with self.limiter.charged(feedback.tenant):
                return await self.inner.submit(feedback)

    async def agreement(self, tenant: str | None) -> Agreement:
        with self.calls.call():
            return await self.inner.agreement(tenant)
