"""Judgements as evidence: an anytime-valid verdict that stops a worse candidate."""

from dataclasses import replace
from random import Random

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Message
from guerdon_service.core.feedback import Feedback
from guerdon_service.shadow.plan import ShadowPlan
from guerdon_service.shadow.trial import Trial
from tests.shadow.test_scorer import ask
from tests.shadow.trio import CANDIDATE_VERSION, CHAMPION_VERSION, trio

PLAN = ShadowPlan(canary_share=1.0, alpha=0.01)


def judgement(number: int, *, longer_wins: bool, tie: bool = False) -> Feedback:
    """The fake's reward grows with length, the opposite candidate's falls."""
    short, long = f"{number}", f"{number} and more"
    chosen, rejected = (long, short) if longer_wins else (short, long)
    prompt = (Message("user", f"Say {number}."),)
    return Feedback(f"id-{number}", prompt, chosen, rejected, tie, "", "ann", 0.0)


@pytest.mark.parametrize(("longer_wins", "verdict"), [(True, "worse"), (False, "better")])
async def test_a_candidate_that_people_disagree_with_loses_its_traffic(
    longer_wins: bool, verdict: str
) -> None:
    async with trio(PLAN, "opposite") as t:
        assert (await t.scorer.score(ask())).model.version == CANDIDATE_VERSION
        for number in range(20):
            await t.feedback.submit(judgement(number, longer_wins=longer_wins))
        trial = await t.settled()
        assert (trial.evidence.num, trial.verdict(PLAN.alpha)) == (20, verdict)
        stopped = verdict == "worse"
        answered = (await t.scorer.score(ask())).model.version
        assert answered == (CHAMPION_VERSION if stopped else CANDIDATE_VERSION)
        assert len(t.kept.all) == 20


async def test_agreement_ties_and_repeats_are_no_evidence() -> None:
    async with trio(PLAN, "double") as t:
        await t.feedback.submit(judgement(1, longer_wins=True))
        assert (await t.settled()).evidence.num == 0
    async with trio(PLAN, "opposite") as t:
        for number, (longer_wins, tie) in enumerate(
            [(True, True), (True, False), (True, False), (False, False)]
        ):
            again = replace(judgement(1, longer_wins=longer_wins, tie=tie), id=f"another {number}")
            await t.feedback.submit(again)
        assert (await t.settled()).evidence.num == 1


async def test_a_prompt_is_betted_on_once() -> None:
    """Pairs of one prompt mostly go the same way, so each after the first would count it again."""
    async with trio(PLAN, "opposite") as t:
        for number in range(20):
            of_one = judgement(number, longer_wins=True)
            await t.feedback.submit(replace(of_one, prompt=(Message("user", "Say it."),)))
        assert (await t.settled()).evidence.num == 1
        assert len(t.kept.all) == 20


def test_a_candidate_that_is_as_good_is_rarely_stopped_however_long_it_is_watched() -> None:
    """Every look counts: 300 trials of 500 judgements each, stopped at the first verdict."""
    random, alpha = Random(7), 0.05
    stopped = sum(is_stopped(random, 0.5, alpha) for _ in range(300))
    assert stopped / 300 <= alpha + 3 * (alpha * (1 - alpha) / 300) ** 0.5


def test_a_worse_candidate_is_found() -> None:
    random = Random(7)
    assert sum(is_stopped(random, 0.35, 0.05) for _ in range(50)) >= 45


def is_stopped(random: Random, share: float, alpha: float) -> bool:
    trial = Trial("m", "1", "2")
    for _ in range(500):
        candidate_right = random.random() < share
        trial = trial.judged(*((-1.0, 1.0) if candidate_right else (1.0, -1.0)))
        if trial.verdict(alpha) != "undecided":
            return True
    return False


async def test_judgements_are_kept_while_no_champion_answers() -> None:
    async with trio(PLAN, "opposite") as t:
        await t.inner.catalog.unload("fake")
        await t.inner.catalog.load_version(ModelSpec("fake", "opposite"), "2", "digest-2")
        await t.feedback.submit(judgement(1, longer_wins=True))
        assert len(t.kept.all) == 1
        assert t.recorded.trials == []
