"""Evaluations of policies as a service: names to policies, work to progress and a result."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

from guerdon_service.bestofn.policy_admission import check_policy_query
from guerdon_service.bestofn.policy_work import PolicyWork
from guerdon_service.bestofn.rewards import Rewards
from guerdon_service.core.errors import Overloaded, UnknownModel
from guerdon_service.core.generation import Policy
from guerdon_service.core.limits import Limits
from guerdon_service.core.pairwise import PairwiseScorer
from guerdon_service.core.policy_evaluation import (
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyEvaluationQuery,
)
from guerdon_service.core.query import Options
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.streams import closed_after

BUSY_MS = 5000
"""Until a caller may ask whether his last one has ended: one takes seconds to hours."""


class PolicyEvaluationService:
    """`core.policy_evaluation.PolicyEvaluator` over a domain layer and policies; it owns the judges alone.

    Each tenant has one at work, as each takes all that its policies give.

    Args:
        policy: the policy of a name; raises `UnknownModel`.
    """

    def __init__(
        self,
        scorer: Scorer,
        policy: Callable[[str], Policy],
        limits: Limits,
        judges: Iterable[PairwiseScorer] = (),
    ) -> None:
        self._scorer = scorer
        self._policy = policy
        self._limits = limits
        self._judges = {judge.name: judge for judge in judges}
        self._at_work: set[str] = set()
        """Tenants."""

    async def run(self, query: PolicyEvaluationQuery) -> PolicyEvaluation:
        """See `PolicyEvaluator.run`."""
        async with closed_after(self.stream(query)) as parts:
            async for part in parts:
                if isinstance(part, PolicyEvaluation):
                    return part
        raise AssertionError("a stream ends with its result")

    async def stream(
        self, query: PolicyEvaluationQuery
    ) -> AsyncIterator[PolicyEvaluationProgress | PolicyEvaluation]:
        """See `PolicyEvaluator.stream`. A name or field that is wrong is refused before the first part.

        Raises:
            InvalidInput: a field is out of range, or a policy gave no response that has a reward.
            UnknownModel: no such policy, judge or model.
            Overloaded: the tenant's last one has not ended.
            NotReady: a model became another meanwhile; ask again.
            GuerdonError: a policy's, a judge's or a model's, again and again.
        """
        started = time.monotonic()
        work, tenant = self._work(query), query.options.tenant
        self._begin(tenant)
        task = asyncio.create_task(work.run())
        # not below: who asked may be cancelled again while this ends
        task.add_done_callback(lambda _: self._at_work.discard(tenant))
        task.add_done_callback(lambda _: work.moved.set())
        try:
            yield PolicyEvaluationProgress(0, work.num_steps)
            told = 0
            while not task.done():
                await work.moved.wait()
                work.moved.clear()
                if work.num_done > told:
                    told = work.num_done
                    yield PolicyEvaluationProgress(told, work.num_steps)
            yield replace(task.result(), total_s=time.monotonic() - started)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Close the judges."""
        await asyncio.gather(*(judge.close() for judge in self._judges.values()))

    def _begin(self, tenant: str) -> None:
        if tenant in self._at_work:
            raise Overloaded(
                "an evaluation of policies by this caller is at work; ask again once it has ended",
                retry_after_ms=BUSY_MS,
            )
        self._at_work.add(tenant)

    def _work(self, query: PolicyEvaluationQuery) -> PolicyWork:
        check_policy_query(query, self._limits)
        policies = {name: self._named(name, "policies") for name in query.policies}
        if query.baseline is not None:
            policies[query.baseline] = self._named(query.baseline, "baseline")
        reference = query.reference or query.baseline
        return PolicyWork(
            query=query,
            policies=policies,
            reference=None if reference is None else self._named(reference, "reference"),
            rewards=Rewards(self._scorer, query.options),
            gold=None if query.gold is None else self._gold(query.options, query.gold),
            judge=None if query.judge is None else self._judge(query.judge),
        )

    def _named(self, name: str, param: str) -> Policy:
        try:
            return self._policy(name)
        except UnknownModel as err:
            raise UnknownModel(err.message, param=param) from None

    def _gold(self, options: Options, name: str) -> Rewards:
        try:
            return Rewards(self._scorer, replace(options, model=name, profile=None))
        except UnknownModel as err:
            raise UnknownModel(err.message, param="gold") from None

    def _judge(self, name: str) -> PairwiseScorer:
        if name not in self._judges:
            known = ", ".join(self._judges) or "none is configured"
            raise UnknownModel(f"judge {name!r} is unknown; use one of: {known}", param="judge")
        return self._judges[name]
