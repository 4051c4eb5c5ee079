"""One policy evaluation under way: sample and score, judge, read for the KL, then the figures."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from guerdon_service.bestofn.both_orders import BothOrders, ask_both_orders
from guerdon_service.bestofn.kl import OTHER_TOKENS, kl_to, why_no_kl
from guerdon_service.bestofn.over_optimisation import over_optimisation_points
from guerdon_service.bestofn.policy_evaluation import (
    Evidence,
    Judged,
    check_scored,
    mean_reward,
    policy_report,
)
from guerdon_service.bestofn.rewards import Rewards
from guerdon_service.bestofn.samples import Samples, draw_samples, score_given
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import LogProbs, Policy
from guerdon_service.core.pairwise import PairwiseScorer
from guerdon_service.core.policy_evaluation import Kl, PolicyEvaluation, PolicyEvaluationQuery
from guerdon_service.scoring.at_once import at_once
from guerdon_service.scoring.patience import patiently

PAIRS_AT_ONCE = 8
"""Pairs that a judge is asked about at a time."""


@dataclass(slots=True)
class PolicyWork:
    """Everything that a query names, found.

    policies: by name, in the query's order; the baseline is one of them.
    moved: set whenever `num_done` grew.
    """

    query: PolicyEvaluationQuery
    policies: dict[str, Policy]
    reference: Policy | None
    rewards: Rewards
    gold: Rewards | None
    judge: PairwiseScorer | None
    num_done: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def num_steps(self) -> int:
        """Steps that `run` will take."""
        num_read = sum(not self._why_no_kl(name) for name in self.query.policies)
        num_judged = 0 if self.judge is None else len(self.query.policies)
        return len(self.query.prompts) * (len(self.policies) + num_judged + num_read)

    async def run(self) -> PolicyEvaluation:
        """The result, but for its time."""
        baseline = await self._given()
        samples = {name: await self._draw(policy) for name, policy in self.policies.items()}
        for name, found in samples.items():
            check_scored(name, found)
        if self.query.baseline is not None:
            baseline = samples[self.query.baseline]
        evidence = [await self._gather(name, samples[name], baseline) for name in self.query.policies]
        return await asyncio.to_thread(self._result, evidence, baseline)  # resampling takes seconds

    async def _draw(self, policy: Policy) -> list[Samples]:
        query, prompts = self.query, [p.messages for p in self.query.prompts]
        return await draw_samples(policy, prompts, query.n, query.params, self.rewards, self.gold, self._step)

    async def _given(self) -> list[Samples] | None:
        texts = [p.baseline_response for p in self.query.prompts if p.baseline_response is not None]
        if not texts:
            return None
        return await score_given([p.messages for p in self.query.prompts], texts, self.rewards, self.gold)

    async def _gather(
        self, name: str, samples: Sequence[Samples], baseline: Sequence[Samples] | None
    ) -> Evidence:
        judged = None if self.judge is None or baseline is None else await self._judged(samples, baseline)
        kl, kl_absent = await self._kl(name, samples)
        return Evidence(name, self.policies[name].digest, samples, baseline, judged, kl, kl_absent)

    async def _judged(self, ours: Sequence[Samples], theirs: Sequence[Samples]) -> Judged:
        """A pair that the judge refuses as too long is left out; a judge that refuses every pair is told."""
        judge, num_asked = self.judge, 0
        refusals: list[InvalidInput] = []
        assert judge is not None

        async def ask(i: int) -> BothOrders | None:
            nonlocal num_asked
            a, b, answer = ours[i].first, theirs[i].first, None
            if a is not None and b is not None:
                num_asked += 1
                try:
                    answer = await patiently(lambda: ask_both_orders(judge, ours[i].prompt, a, b))
                except InvalidInput as err:
                    refusals.append(err)
            self._step()
            return answer

        answers = await at_once(ask, len(ours), PAIRS_AT_ONCE)
        if refusals and len(refusals) == num_asked:
            raise refusals[0]
        return Judged(tuple(answers), num_asked)

    async def _kl(self, name: str, samples: Sequence[Samples]) -> tuple[Kl | None, str]:
        if absent := self._why_no_kl(name):
            return None, absent
        policy, reference = self.policies[name], self.reference
        assert isinstance(policy, LogProbs) and isinstance(reference, LogProbs)
        kl = await kl_to(policy, reference, samples, self.query.params.seed, self._step)
        return kl, OTHER_TOKENS if kl is None else ""

    def _result(self, evidence: Sequence[Evidence], baseline: Sequence[Samples] | None) -> PolicyEvaluation:
        query, seed = self.query, self.query.params.seed
        reports = tuple(policy_report(e, seed) for e in evidence)
        samples = [e.samples for e in evidence]
        assert self.rewards.model is not None, "a report has rewards"
        return PolicyEvaluation(
            model=self.rewards.model,
            gold=None if self.gold is None else self.gold.model,
            baseline=query.baseline or "",
            reference=query.reference or query.baseline or "",
            judge=query.judge or "",
            baseline_reward=None if baseline is None else mean_reward(baseline, seed),
            num_prompts=len(query.prompts),
            n=query.n,
            seed=seed,
            policies=reports,
            over_optimisation=over_optimisation_points(reports, samples, seed) if len(reports) > 1 else (),
            total_s=0.0,
        )

    def _why_no_kl(self, name: str) -> str:
        return why_no_kl(self.policies[name], self.reference, self.query.params)

    def _step(self) -> None:
        self.num_done += 1
        self.moved.set()
