"""The synchronous face of `AsyncClient`."""

import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from guerdon.client.async_client import AsyncClient
from guerdon.client.portal import Portal
from guerdon.client.retry import Clock
from guerdon.transport import Tls, Transport
from guerdon.types import (
    Agreement,
    AliasChange,
    BestOfNResult,
    Candidate,
    CompareResult,
    Dataset,
    Evaluation,
    Item,
    Lane,
    ModelHistory,
    ModelInfo,
    ModelVersion,
    Pair,
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyPrompt,
    Prompt,
    RankResult,
    RegisteredModel,
    ReportFormat,
    ScoreResult,
)

T = TypeVar("T")


class Client:
    """`AsyncClient` for code that does not await; same arguments, methods, results and errors.

    Safe to share between threads: what a call is given is read in the caller's, as a generator may belong
    to it, and callbacks run in the client's. A forked child gets connections of its own at its first call.
    gRPC's library does not survive a fork: where the parent has called, such a child, and a client that it
    makes, is refused instead of hanging.
    """

    def __init__(
        self,
        target: str | Transport,
        *,
        api_key: str | None = None,
        tls: Tls | None = None,
        timeout_s: float = 300.0,
        max_retries: int = 5,
        max_concurrency: int = 4,
        chunk_size: int = 256,
        clock: Clock | None = None,
    ) -> None:
        def make() -> AsyncClient:
            return AsyncClient(
                target,
                api_key=api_key,
                tls=tls,
                timeout_s=timeout_s,
                max_retries=max_retries,
                max_concurrency=max_concurrency,
                chunk_size=chunk_size,
                clock=clock,
            )

        self._make = make
        self._lock = threading.Lock()
        self._inherited: list[object] = []
        self._client, self._portal = make(), Portal()
        self._closed = False

    def score(
        self,
        items: Iterable[Item | tuple[Prompt, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> ScoreResult:
        """See `AsyncClient.score`."""
        given = list(items)
        return self._run(
            lambda c: c.score(given, model=model, profile=profile, lane=lane, deadline_s=deadline_s)
        )

    def compare(
        self,
        pairs: Iterable[Pair | tuple[Prompt, str, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> CompareResult:
        """See `AsyncClient.compare`."""
        given = list(pairs)
        return self._run(
            lambda c: c.compare(given, model=model, profile=profile, lane=lane, deadline_s=deadline_s)
        )

    def rank(
        self,
        prompt: Prompt,
        candidates: Iterable[str],
        *,
        top_k: int | None = None,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> RankResult:
        """See `AsyncClient.rank`."""
        given = candidates if isinstance(candidates, str) else list(candidates)
        return self._run(
            lambda c: c.rank(
                prompt,
                given,
                top_k=top_k,
                model=model,
                profile=profile,
                lane=lane,
                deadline_s=deadline_s,
            )
        )

    def models(self) -> tuple[ModelInfo, ...]:
        """See `AsyncClient.models`."""
        return self._run(lambda c: c.models())

    def model_info(self, name: str | None = None) -> ModelInfo:
        """See `AsyncClient.model_info`."""
        return self._run(lambda c: c.model_info(name))

    def load_model(
        self, name: str, source: str, *, backend: str = "torch", dtype: str = "float32", device: str = "cpu"
    ) -> ModelInfo:
        """See `AsyncClient.load_model`."""
        return self._run(lambda c: c.load_model(name, source, backend=backend, dtype=dtype, device=device))

    def unload_model(self, name: str) -> None:
        """See `AsyncClient.unload_model`."""
        self._run(lambda c: c.unload_model(name))

    def best_of_n(
        self,
        policy: str,
        prompt: Prompt,
        n: int,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        conservatism: float | None = None,
        choice_temperature: float | None = None,
        min_margin: float | None = None,
        patience: int | None = None,
        model: str | None = None,
        profile: str | None = None,
        deadline_s: float | None = None,
        on_candidate: Callable[[Candidate], object] | None = None,
    ) -> BestOfNResult:
        """See `AsyncClient.best_of_n`."""
        return self._run(
            lambda c: c.best_of_n(
                policy,
                prompt,
                n,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
                conservatism=conservatism,
                choice_temperature=choice_temperature,
                min_margin=min_margin,
                patience=patience,
                model=model,
                profile=profile,
                deadline_s=deadline_s,
                on_candidate=on_candidate,
            )
        )

    def policies(self) -> tuple[str, ...]:
        """See `AsyncClient.policies`."""
        return self._run(lambda c: c.policies())

    def evaluate_policy(
        self,
        policies: str | Sequence[str],
        prompts: Iterable[PolicyPrompt | Prompt],
        *,
        n: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        baseline: str | None = None,
        reference: str | None = None,
        model: str | None = None,
        profile: str | None = None,
        gold: str | None = None,
        judge: str | None = None,
        on_progress: Callable[[PolicyEvaluationProgress], object] | None = None,
    ) -> PolicyEvaluation:
        """See `AsyncClient.evaluate_policy`."""
        given = prompts if isinstance(prompts, str) else list(prompts)
        return self._run(
            lambda c: c.evaluate_policy(
                policies,
                given,
                n=n,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
                baseline=baseline,
                reference=reference,
                model=model,
                profile=profile,
                gold=gold,
                judge=judge,
                on_progress=on_progress,
            )
        )

    def add_dataset(self, name: str, records: Iterable[Mapping[str, object]]) -> Dataset:
        """See `AsyncClient.add_dataset`."""
        given = list(records)
        return self._run(lambda c: c.add_dataset(name, given))

    def evaluate(
        self,
        candidate: str,
        dataset: str,
        *,
        baseline: str | None = None,
        profile: str | None = None,
        margin: float | None = None,
        robustness: int | None = None,
        wait: bool = True,
        on_progress: Callable[[Evaluation], object] | None = None,
    ) -> Evaluation:
        """See `AsyncClient.evaluate`."""
        return self._run(
            lambda c: c.evaluate(
                candidate,
                dataset,
                baseline=baseline,
                profile=profile,
                margin=margin,
                robustness=robustness,
                wait=wait,
                on_progress=on_progress,
            )
        )

    def follow_evaluation(
        self, evaluation_id: str, on_progress: Callable[[Evaluation], object] | None = None
    ) -> Evaluation:
        """See `AsyncClient.follow_evaluation`."""
        return self._run(lambda c: c.follow_evaluation(evaluation_id, on_progress))

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """See `AsyncClient.evaluation`."""
        return self._run(lambda c: c.evaluation(evaluation_id))

    def evaluations(self) -> tuple[Evaluation, ...]:
        """See `AsyncClient.evaluations`."""
        return self._run(lambda c: c.evaluations())

    def cancel_evaluation(self, evaluation_id: str) -> Evaluation:
        """See `AsyncClient.cancel_evaluation`."""
        return self._run(lambda c: c.cancel_evaluation(evaluation_id))

    def evaluation_report(self, evaluation_id: str, format: ReportFormat = "html") -> str:
        """See `AsyncClient.evaluation_report`."""
        return self._run(lambda c: c.evaluation_report(evaluation_id, format))

    def register(self, name: str, source: str) -> ModelVersion:
        """See `AsyncClient.register`."""
        return self._run(lambda c: c.register(name, source))

    def registered_models(self) -> tuple[RegisteredModel, ...]:
        """See `AsyncClient.registered_models`."""
        return self._run(lambda c: c.registered_models())

    def history(self, name: str) -> ModelHistory:
        """See `AsyncClient.history`."""
        return self._run(lambda c: c.history(name))

    def model_card(self, name: str, version: str) -> str:
        """See `AsyncClient.model_card`."""
        return self._run(lambda c: c.model_card(name, version))

    def promote(
        self,
        name: str,
        version: str,
        *,
        alias: str | None = None,
        evaluation_id: str | None = None,
        override_reason: str | None = None,
    ) -> AliasChange:
        """See `AsyncClient.promote`."""
        return self._run(
            lambda c: c.promote(
                name, version, alias=alias, evaluation_id=evaluation_id, override_reason=override_reason
            )
        )

    def rollback(self, name: str, reason: str, *, alias: str | None = None) -> AliasChange:
        """See `AsyncClient.rollback`."""
        return self._run(lambda c: c.rollback(name, reason, alias=alias))

    def remove_alias(self, name: str, alias: str, reason: str) -> AliasChange:
        """See `AsyncClient.remove_alias`."""
        return self._run(lambda c: c.remove_alias(name, alias, reason))

    def feedback(
        self,
        prompt: Prompt,
        chosen: str,
        rejected: str,
        *,
        tie: bool = False,
        annotator: str | None = None,
        tags: Mapping[str, str] | None = None,
        shown: Sequence[str] | None = None,
        model: str | None = None,
        feedback_id: str | None = None,
    ) -> str:
        """See `AsyncClient.feedback`."""
        return self._run(
            lambda c: c.feedback(
                prompt,
                chosen,
                rejected,
                tie=tie,
                annotator=annotator,
                tags=tags,
                shown=shown,
                model=model,
                feedback_id=feedback_id,
            )
        )

    def agreement(self) -> Agreement:
        """See `AsyncClient.agreement`."""
        return self._run(lambda c: c.agreement())

    def close(self) -> None:
        """Close the connections and stop the thread; a second time does nothing."""
        if self._closed:
            return
        if self._portal.pid == os.getpid():
            self._portal.run(self._client.close())
        self._closed = True
        self._portal.close()

    def __enter__(self) -> "Client":
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        if self._portal.pid != os.getpid():
            self._restart()
        return self._portal.run(call(self._client))

    def _restart(self) -> None:
        """Give a forked child its own loop and connections.

        The inherited ones are kept, not closed: they share sockets and the selector with the parent, and
        a finaliser that ran here would reach into them.
        """
        with self._lock:
            if self._portal.pid != os.getpid():
                self._inherited += [self._client, self._portal]
                self._client, self._portal = self._make(), Portal()
