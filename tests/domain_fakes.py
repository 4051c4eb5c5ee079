"""Fakes at the Protocols of the verbs that are no scoring, and `Services` of them."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from guerdon_service.app.audit_trail import AuditTrail
from guerdon_service.bestofn.policy_service import PolicyEvaluationService
from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.audit import RecordedAct
from guerdon_service.core.best_of_n import BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.conversation import Conversation, Message, check_conversation
from guerdon_service.core.dataset import Dataset
from guerdon_service.core.errors import (
    GateRefused,
    InvalidInput,
    NotReady,
    UnknownEvaluation,
    UnknownModel,
)
from guerdon_service.core.evaluation import ENDED, Evaluation, EvaluationQuery
from guerdon_service.core.evaluation_summary import summarise
from guerdon_service.core.feedback import Feedback
from guerdon_service.core.generation import Generated, Policy, SamplingParams
from guerdon_service.core.limits import Limits
from guerdon_service.core.model_name import check_model_name
from guerdon_service.core.query import ScoreQuery
from guerdon_service.core.registry import (
    AliasChange,
    GateCheck,
    ModelHistory,
    ModelVersion,
    PromoteQuery,
    RegisteredModel,
)
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.services import Services
from guerdon_service.evaluation.robustness import check_robustness
from guerdon_service.feedback.service import FeedbackService
from guerdon_service.registry.rules import removable, written_reason
from guerdon_service.scoring.service import ScoringService

REPORT = {
    "data": {"num_items": 3},
    "accuracy": {"value": 0.75, "low": 0.5, "high": 0.875},
    "comparison": {"verdict": "better", "delta": {"value": 0.1, "low": 0.01, "high": 0.2}},
}


@dataclass
class EchoBestOfN:
    """A policy ``echo`` that answers ``reply 0``, ``reply 1``, ...; the last two alike.

    `text` is what it answers instead. After `fail_after` candidates it raises `error`; `gate` is waited for
    before each candidate but the first.
    """

    scorer: Scorer
    fail_after: int | None = None
    error: Exception = field(default_factory=lambda: NotReady("the policy died; ask again"))
    gate: asyncio.Event | None = None
    text: str | None = None
    num_closed: int = 0

    async def stream(self, query: BestOfNQuery) -> AsyncGenerator[ScoredCandidate | BestOfNResult]:
        try:
            check(query)
            found: list[ScoredCandidate] = []
            for index in range(query.n):
                if index == self.fail_after:
                    raise self.error
                if index and self.gate is not None:
                    await self.gate.wait()
                text = self.text or f"reply {min(index, max(query.n - 2, 0))}"
                asked = ScoreQuery((Conversation(query.prompt, text),), query.options)
                scored = await self.scorer.score(asked)
                twin = next((c.generated.index for c in found if c.generated.text == text), None)
                found.append(ScoredCandidate(Generated(index, text, 2, "stop"), scored.scores[0], twin))
                yield found[-1]
            best = max(found, key=lambda c: c.score.reward).generated.index
            yield BestOfNResult(
                query.policy, scored.model, best, tuple(found), False, False, False, 0.5, 0.75, 0.001
            )
        finally:
            self.num_closed += 1

    async def run(self, query: BestOfNQuery) -> BestOfNResult:
        parts = [part async for part in self.stream(query)]
        assert isinstance(parts[-1], BestOfNResult)
        return parts[-1]

    def policies(self) -> tuple[str, ...]:
        return ("echo", "smollm2")


def check(query: BestOfNQuery) -> None:
    """What the domain layer refuses."""
    if query.policy not in ("echo", "smollm2"):
        raise InvalidInput(f"policy {query.policy[:80]!a} is not known; use echo", param="policy")
    if not 1 <= query.n <= 64:
        raise InvalidInput(f"n is {query.n}; give 1 to 64", param="n")
    check_conversation(Conversation(query.prompt, "x"), "prompt", "response")


@dataclass(frozen=True)
class Echo:
    """A policy that answers ``reply 0``, ``reply 1``, ..., the more words the higher the seed."""

    name: str
    digest: str = "e" * 64

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncGenerator[Generated]:
        for index in range(n):
            text = f"reply {index}" + " more" * (params.seed % 3 if self.name == "echo" else 1)
            yield Generated(index, text, len(text.split()), "stop")

    async def close(self) -> None:
        pass


def echo_policy(name: str) -> Policy:
    """``echo`` and ``smollm2``."""
    if name not in ("echo", "smollm2"):
        raise UnknownModel(f"policy {name[:80]!a} is not known; use echo", param="policy")
    return Echo(name)


@dataclass
class StepEvaluator:
    """Evaluations of three items that move while somebody follows; each item takes one of `gate`."""

    gate: asyncio.Semaphore | None = None
    kept: dict[str, Evaluation] = field(default_factory=dict)

    async def add_dataset(self, name: str, records: Sequence[Mapping[str, Any]]) -> Dataset:
        if not name.endswith(".jsonl"):
            raise InvalidInput("name does not end in .jsonl", param="name")
        if not records:
            raise InvalidInput("records is empty; give at least one preference", param="records")
        return Dataset(name, "s" * 64, len(records))

    async def start(self, query: EvaluationQuery) -> Evaluation:
        if query.dataset == "absent.jsonl":
            raise InvalidInput("dataset absent.jsonl does not exist", param="dataset")
        if not 0 <= query.margin < 1:
            raise InvalidInput(f"margin is {query.margin}; give 0 to 1", param="margin")
        check_robustness(query.robustness)
        evaluation = Evaluation(
            id=f"e{len(self.kept) + 1}",
            state="queued",
            query=query,
            candidate=f"{query.candidate}@1",
            candidate_digest="d" * 64,
            baseline=f"{query.baseline}@1" if query.baseline else None,
            baseline_digest="b" * 64 if query.baseline else None,
            dataset_sha256="s" * 64,
            done=0,
            total=0,
            created_at=1234.5,
        )
        self.kept[evaluation.id] = evaluation
        return evaluation

    async def get(self, evaluation_id: str) -> Evaluation:
        if evaluation_id not in self.kept:
            raise UnknownEvaluation(f"no evaluation {evaluation_id[:80]!a}; list them", param="id")
        return self.kept[evaluation_id]

    async def all(self) -> tuple[Evaluation, ...]:
        return tuple(replace(e, report=None) for e in reversed(self.kept.values()))

    async def follow(self, evaluation_id: str) -> AsyncGenerator[Evaluation]:
        evaluation = await self.get(evaluation_id)
        yield evaluation
        while evaluation.state not in ENDED:
            if self.gate is not None:
                await self.gate.acquire()
            evaluation = self.kept[evaluation_id]
            if evaluation.state not in ENDED:
                done = evaluation.done + 1
                found = {"report": REPORT, "summary": summarise(REPORT)}
                ended = {"state": "done", **found} if done == 3 else {"state": "running"}
                evaluation = replace(evaluation, done=done, total=3, **ended)
                self.kept[evaluation_id] = evaluation
            yield evaluation

    async def cancel(self, evaluation_id: str) -> Evaluation:
        evaluation = await self.get(evaluation_id)
        if evaluation.state not in ENDED:
            evaluation = replace(evaluation, state="cancelled")
            self.kept[evaluation_id] = evaluation
        return evaluation

    async def report(self, evaluation_id: str, format: str) -> str:
        evaluation = await self.get(evaluation_id)
        if evaluation.report is None:
            raise NotReady("the evaluation is not done; ask again", retry_after_ms=1000)
        return "<!doctype html><title>report</title>" if format == "html" else "### report"


@dataclass
class MemoryRegistrar:
    """Versions by counting; the gate asks for an evaluation. Models are loaded by `scorer` alone."""

    scorer: Scorer
    known: dict[str, ModelHistory] = field(default_factory=dict)

    async def load(self, spec: ModelSpec, by: str) -> ModelInfo:
        assert isinstance(self.scorer, ScoringService)
        return await self.scorer.load_model(spec)

    async def register(self, name: str, source: str, by: str) -> ModelVersion:
        check_model_name(name, "name")
        if source == "bad":
            raise InvalidInput("source is bad; give a good one", param="source")
        history = self.known.get(name, ModelHistory(name, (), {}, ()))
        number = str(len(history.versions) + 1)
        version = ModelVersion(name, number, "d" * 64, "reward", source, by, 1234.5, {"data": ["x"]})
        self.known[name] = replace(history, versions=(*history.versions, version))
        if not history.versions:
            self._move(name, "champion", "register", number, by, "")
        return version

    async def models(self) -> tuple[RegisteredModel, ...]:
        found = sorted(self.known.items())
        return tuple(RegisteredModel(name, it.versions[0].kind, it.aliases) for name, it in found)

    async def history(self, name: str) -> ModelHistory:
        if name not in self.known:
            raise UnknownModel(f"model {name[:80]!a} is not registered", param="name")
        return self.known[name]

    async def card(self, name: str, version: str) -> str:
        if version not in [v.version for v in (await self.history(name)).versions]:
            raise UnknownModel(f"model {name}@{version[:80]!a} is not registered", param="version")
        return f"# {name} {version}\n\nOnly \u00fcseful **in tests**.\n"

    async def promote(self, query: PromoteQuery) -> AliasChange:
        history = await self.history(query.name)
        if query.version not in [v.version for v in history.versions]:
            raise InvalidInput(f"version {query.version[:80]!a} is not registered", param="version")
        if query.evaluation_id is None and query.override_reason is None:
            raise GateRefused("evidence: no evaluation; give evaluation_id", param="evaluation_id")
        action = "promote" if query.override_reason is None else "override"
        checks = (GateCheck("evidence", True, "fine"), GateCheck("latency", None, "no budget"))
        return self._move(
            query.name, query.alias, action, query.version, query.by, query.override_reason or "",
            query.evaluation_id, checks,
        )  # fmt: skip

    async def rollback(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        history = await self.history(name)
        last = next((c for c in reversed(history.changes) if c.alias == alias and c.previous), None)
        if last is None or last.previous is None:
            raise InvalidInput(f"alias {alias[:80]!a} has no version before", param="alias")
        return self._move(name, alias, "rollback", last.previous, by, written_reason(reason))

    async def remove_alias(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        stood = removable(await self.history(name), alias)
        change = self._move(name, alias, "remove", stood.version, by, written_reason(reason))
        left = {known: at for known, at in self.known[name].aliases.items() if known != alias}
        self.known[name] = replace(self.known[name], aliases=left)
        return change

    def _move(
        self,
        name: str,
        alias: str,
        action: str,
        version: str,
        by: str,
        reason: str,
        evaluation_id: str | None = None,
        checks: tuple[GateCheck, ...] = (),
    ) -> AliasChange:
        history = self.known[name]
        change = AliasChange(
            name,
            alias,
            action,  # type: ignore[arg-type]
            history.aliases.get(alias),
            version,
            by,
            1234.5,
            reason,
            evaluation_id,
            checks,
        )
        aliases = {**history.aliases, alias: version}
        self.known[name] = replace(history, aliases=aliases, changes=(*history.changes, change))
        return change


@dataclass
class MemoryFeedbackStore:
    """Feedback in a dictionary."""

    kept: dict[str, Feedback] = field(default_factory=dict)

    def add(self, feedback: Feedback) -> None:
        self.kept.setdefault(feedback.id, feedback)

    def read(self, tenant: str | None = None) -> Iterator[Feedback]:
        return (f for f in self.kept.values() if tenant in (None, f.tenant))


class NothingToSee:
    """The state of a replica that has none."""

    def state(self) -> dict[str, object]:
        return {"ready": True, "models": []}


@dataclass
class MemoryAuditStore:
    """Acts in a list."""

    kept: list[RecordedAct] = field(default_factory=list)

    def add(self, recorded: RecordedAct) -> None:
        self.kept.append(recorded)

    def newest(self, limit: int) -> tuple[RecordedAct, ...]:
        return tuple(reversed(self.kept[-limit:]))


def services_of(scorer: Scorer, limits: Limits | None = None, **given: object) -> Services:
    """`scorer` and fakes of everything else, unless `given`."""
    fakes: dict[str, object] = {
        "best_of_n": EchoBestOfN(scorer),
        "evaluator": StepEvaluator(),
        "registrar": MemoryRegistrar(scorer),
        "feedback": FeedbackService(MemoryFeedbackStore(), limits or Limits()),
        "audit": AuditTrail(MemoryAuditStore()),
        "inspector": NothingToSee(),
        "policy_evaluator": PolicyEvaluationService(scorer, echo_policy, limits or Limits()),
    }
    return Services(scorer=scorer, **(fakes | given))  # type: ignore[arg-type]
