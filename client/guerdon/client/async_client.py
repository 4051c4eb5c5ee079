"""The client's one core: what callers give to requests, replies to typed results."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from guerdon.client import decode, decode_more, decode_policy
from guerdon.client.encode import encode_candidates, encode_item, encode_pair, encode_prompt, encode_records
from guerdon.client.follow import follow
from guerdon.client.models import find_model
from guerdon.client.policies import encode_policy_prompts, evaluate_policy
from guerdon.client.retry import Clock
from guerdon.client.sender import ONCE, open_sender
from guerdon.transport import Payload, Tls, Transport
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


class AsyncClient:
    """Scores, compares and ranks through a Guerdon service. Belongs to one event loop.

    Args:
        target: ``http(s)://host:port`` (REST), ``grpc(s)://host:port`` (gRPC), or a `Transport`.
        api_key: sent as a bearer token; None where the service asks for none.
        tls: files for a private authority and for mutual TLS; None: the public authorities alone.
        timeout_s: seconds for one request; a call that is split or retried may take longer, unless it
            names a `deadline_s`.
        max_retries: further attempts after `Overloaded`, `NotReady` and `ConnectionFailed`; scoring is
            idempotent, so an attempt whose answer was lost does no harm.
        max_concurrency: requests that one call keeps in flight.
        chunk_size: items in one request; longer lists are split.
        clock: time and chance; tests inject their own.

    Every method raises a `GuerdonError`; `deadline_s` bounds the whole call, retries included.
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
        self._sender = open_sender(
            target, api_key, tls, timeout_s, max_retries, max_concurrency, chunk_size, clock or Clock()
        )

    async def score(
        self,
        items: Iterable[Item | tuple[Prompt, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> ScoreResult:
        """Reward of each item, in order.

        Args:
            items: `Item` or (prompt, response) tuples, any number of them.
            model: name of a loaded model; None is the service's default.
            profile: named head weights; None is the model's default.
            lane: ``bulk`` yields to ``interactive``, the default.
            deadline_s: seconds after which the answer is no longer wanted.
        """
        wires = [encode_item(item, f"items[{i}]") for i, item in enumerate(items)]
        options = {"model": model, "profile": profile, "lane": lane}
        replies = await self._sender.split("score", "items", "scores", wires, options, deadline_s)
        return decode.score_result(replies)

    async def compare(
        self,
        pairs: Iterable[Pair | tuple[Prompt, str, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> CompareResult:
        """P(a is preferred to b) of each pair, in order; arguments as in `score`."""
        wires = [encode_pair(pair, f"pairs[{i}]") for i, pair in enumerate(pairs)]
        options = {"model": model, "profile": profile, "lane": lane}
        replies = await self._sender.split("compare", "pairs", "preferences", wires, options, deadline_s)
        return decode.compare_result(replies)

    async def rank(
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
        """The candidates best first, the `top_k` best ones only if given; one request, never split."""
        texts = encode_candidates(candidates)
        payload = encode_prompt(prompt, "") | {"candidates": texts, "top_k": top_k}
        payload |= {"model": model, "profile": profile, "lane": lane}
        reply = await self._sender.send("rank", payload, self._sender.deadline(deadline_s))
        return decode.rank_result(reply, min(len(texts), top_k or len(texts)))

    async def models(self) -> tuple[ModelInfo, ...]:
        """Models that the service holds."""
        return tuple(map(decode.model_info, (await self._sender.send("models", {})).get("models", ())))

    async def model_info(self, name: str | None = None) -> ModelInfo:
        """One model; the default one for None.

        Raises:
            UnknownModel: the service holds none of that name.
        """
        return find_model(await self.models(), name)

    async def load_model(
        self, name: str, source: str, *, backend: str = "torch", dtype: str = "float32", device: str = "cpu"
    ) -> ModelInfo:
        """Load a model into the service. REST only, admin scope; tried once.

        Args:
            source: a folder on the service's machine, or a hub id.
        """
        payload = {"name": name, "source": source, "backend": backend, "dtype": dtype, "device": device}
        return decode.model_info(await self._sender.send("load_model", payload, policy=ONCE))

    async def unload_model(self, name: str) -> None:
        """Unload a model. REST only, admin scope; tried once."""
        await self._sender.send("unload_model", {"name": name}, policy=ONCE)

    async def best_of_n(
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
        """Sample n responses of `policy`, score each, choose one.

        Args:
            max_tokens: of one response. Every None is the service's default.
            temperature: 0 is greedy.
            seed: equal seeds give equal responses.
            conservatism: k of the choice by ``reward - k * std``.
            choice_temperature: 0 takes the best; above, soft best-of-n.
            min_margin: abstain when the best leads the second by less.
            patience: stop after so many candidates without a better one; 0 samples all n.
            deadline_s: when the best of what arrived is chosen, and the result is `partial`.
            on_candidate: told of each candidate as it is scored, in order of arrival. It must not block.
        """
        payload = encode_prompt(prompt, "") | {"policy": policy, "n": n, "model": model, "profile": profile}
        payload |= {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        payload |= {"conservatism": conservatism, "choice_temperature": choice_temperature}
        payload |= {"min_margin": min_margin, "patience": patience}
        tell = None if on_candidate is None else lambda wire: on_candidate(decode_more.candidate(wire))
        deadline = self._sender.deadline(deadline_s)
        return decode_more.best_of_n_result(await self._sender.best_of_n(payload, deadline, tell))

    async def policies(self) -> tuple[str, ...]:
        """Names of the policies that `best_of_n` may sample from."""
        return tuple(decode.get(await self._sender.send("policies", {}), "policies"))

    async def evaluate_policy(
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
        """Sample policies on prompts, score, compare and measure them. It ends when this client leaves.

        Args:
            policies: names; several are compared with each other as well, as checkpoints of one run.
            prompts: a `PolicyPrompt` brings the response to beat with it.
            n: responses of each policy to a prompt, the first of which is compared; None is 1.
            seed: prompt i is sampled with ``seed + i``.
            baseline: policy that win rates are against.
            reference: policy that the KL is to; None is the baseline.
            gold: second reward model, by which the first is checked.
            judge: judge that compares first responses, in both orders.
            on_progress: told after every step. It must not block.
        """
        named = [policies] if isinstance(policies, str) else list(policies)
        payload: dict[str, object] = {"policies": named, "prompts": encode_policy_prompts(prompts), "n": n}
        payload |= {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        payload |= {"baseline": baseline, "reference": reference, "model": model, "profile": profile}
        payload |= {"gold": gold, "judge": judge}
        tell = None if on_progress is None else lambda wire: on_progress(decode_policy.progress(wire))
        return decode_policy.policy_evaluation(await evaluate_policy(self._sender, payload, tell))

    async def add_dataset(self, name: str, records: Iterable[Mapping[str, object]]) -> Dataset:
        """Keep preference records as a file of the service's data folder. Admin scope.

        Args:
            name: plain file name that ends in ``.jsonl``; evaluations name it as their `dataset`.
            records: preferences, in any shape that evaluations read. The same again change nothing, others
                under the same name are refused.
        """
        payload = {"name": name, "records": encode_records(records)}
        return decode.build(Dataset, await self._sender.send("add_dataset", payload))

    async def evaluate(
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
        """Measure `candidate` on held-out preferences, against `baseline` when given.

        The evaluation goes on when this client leaves. One that failed is returned, with its `error`.

        Args:
            candidate: ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``, as `baseline`.
            dataset: name of a file below the service's data folder.
            margin: how much less accuracy still counts as not worse; None is the service's default.
            robustness: pairs whose chosen response is also scored changed in several ways; None is none.
            wait: False returns at once; `follow_evaluation` waits later.
            on_progress: told of the evaluation whenever it moved on. It must not block.
        """
        payload: Payload = {"candidate": candidate, "dataset": dataset, "baseline": baseline}
        payload |= {"profile": profile, "margin": margin, "robustness": robustness}
        started = decode_more.evaluation(await self._sender.send("start_evaluation", payload, policy=ONCE))
        return await self.follow_evaluation(started.id, on_progress) if wait else started

    async def follow_evaluation(
        self, evaluation_id: str, on_progress: Callable[[Evaluation], object] | None = None
    ) -> Evaluation:
        """The evaluation once it ended; lost connections are taken up again."""
        return await follow(self._sender, evaluation_id, on_progress)

    async def evaluation(self, evaluation_id: str) -> Evaluation:
        """One evaluation as it is now."""
        return decode_more.evaluation(await self._sender.send("evaluation", {"id": evaluation_id}))

    async def evaluations(self) -> tuple[Evaluation, ...]:
        """The caller's evaluations, an admin's being all, newest first, without their reports."""
        reply = await self._sender.send("evaluations", {})
        return tuple(decode_more.evaluation(e) for e in decode.get(reply, "evaluations"))

    async def cancel_evaluation(self, evaluation_id: str) -> Evaluation:
        """Stop an evaluation; what it scored is kept."""
        return decode_more.evaluation(await self._sender.send("cancel_evaluation", {"id": evaluation_id}))

    async def evaluation_report(self, evaluation_id: str, format: ReportFormat = "html") -> str:
        """A finished evaluation as one HTML page, as Markdown for a pull request, or as plain text."""
        payload = {"id": evaluation_id, "format": format}
        return str(decode.get(await self._sender.send("evaluation_report", payload), "report"))

    async def register(self, name: str, source: str) -> ModelVersion:
        """Store an artifact as a version of `name` and load it. Admin scope; tried once.

        Args:
            source: a folder on the service's machine, or a URL.
        """
        payload = {"name": name, "source": source}
        return decode_more.model_version(await self._sender.send("register", payload, policy=ONCE))

    async def registered_models(self) -> tuple[RegisteredModel, ...]:
        """Every name of the registry, loaded or not, with its aliases, in alphabetical order."""
        found = decode.get(await self._sender.send("registered_models", {}), "models")
        return tuple(decode.build(RegisteredModel, wire) for wire in found)

    async def history(self, name: str) -> ModelHistory:
        """Versions, aliases and changes of `name`, oldest first."""
        return decode_more.model_history(await self._sender.send("history", {"name": name}))

    async def model_card(self, name: str, version: str) -> str:
        """The model card of one version, Markdown; `UnknownModel` where there is none."""
        payload = {"name": name, "version": version}
        return str(decode.get(await self._sender.send("model_card", payload), "card"))

    async def promote(
        self,
        name: str,
        version: str,
        *,
        alias: str | None = None,
        evaluation_id: str | None = None,
        override_reason: str | None = None,
    ) -> AliasChange:
        """Point `alias` (``champion``) at a version, if the gate allows it. Admin scope; tried once.

        Args:
            evaluation_id: a finished evaluation of this version against the current one.
            override_reason: promote although the gate refuses; the reason is kept.

        Raises:
            GateRefused: with every reason.
        """
        payload = {"name": name, "version": version, "alias": alias, "evaluation_id": evaluation_id}
        payload |= {"override_reason": override_reason}
        return decode_more.alias_change(await self._sender.send("promote", payload, policy=ONCE))

    async def rollback(self, name: str, reason: str, *, alias: str | None = None) -> AliasChange:
        """Point `alias` (``champion``) back at the version before. Admin scope; tried once."""
        payload = {"name": name, "reason": reason, "alias": alias}
        return decode_more.alias_change(await self._sender.send("rollback", payload, policy=ONCE))

    async def remove_alias(self, name: str, alias: str, reason: str) -> AliasChange:
        """Take `alias` away from `name`, but never the champion. Admin scope; tried once."""
        payload = {"name": name, "alias": alias, "reason": reason}
        return decode_more.alias_change(await self._sender.send("remove_alias", payload, policy=ONCE))

    async def feedback(
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
        """Store that a person preferred `chosen` to `rejected`, or neither when `tie`; gives its id.

        Args:
            shown: both texts in their order on the screen.
            model: ``NAME@VERSION`` whose scores were behind what was shown.
            feedback_id: kept once, so that sending it again does no harm; None: this client makes one.
        """
        payload = encode_prompt(prompt, "") | {"chosen": chosen, "rejected": rejected, "tie": tie}
        payload |= {"annotator": annotator, "tags": tags and dict(tags), "shown": shown and list(shown)}
        payload |= {"model": model, "id": feedback_id or secrets.token_hex(16)}
        return str(decode.get(await self._sender.send("feedback", payload), "id"))

    async def agreement(self) -> Agreement:
        """How far the caller's stored feedback agrees, an admin's being all, and how reliable people are."""
        return decode_more.agreement(await self._sender.send("agreement", {}))

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.transport.close()

    async def __aenter__(self) -> "AsyncClient":
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()
