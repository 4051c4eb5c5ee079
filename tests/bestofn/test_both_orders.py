"""Pairwise scorers asked in both orders, up to a real judge over HTTP that looks at nothing but the order."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from guerdon_service.bestofn.both_orders import BothOrders, ask_both_orders, position_bias
from guerdon_service.bestofn.policy_service import PolicyEvaluationService
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.policy_evaluation import JudgedWinRate, PolicyEvaluationQuery, PolicyPrompt
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_service.policies.openai_judge import OpenAIJudge
from guerdon_service.scoring import patience
from guerdon_service.scoring.service import ScoringService
from tests.bestofn.fakes import PROMPT, Scripted, listed
from tests.policies.engine_stub import Engine, Exchange, engine
from tests.policies.test_openai_judge import completion, judging

ASKED = tuple(PolicyPrompt((Message("user", f"say {i}"),), "short") for i in range(12))


@dataclass
class Told:
    """Says what `p` gives for the two texts."""

    p: Callable[[str, str], float | None]
    name: str = "told"

    async def p_first(self, prompt: tuple[Message, ...], first: str, second: str) -> float | None:
        return self.p(first, second)

    async def close(self) -> None:
        pass


async def test_a_scorer_of_places_comes_out_at_a_half() -> None:
    for p in (1.0, 0.9, 0.2, 0.0):
        found = await ask_both_orders(Told(lambda a, b, p=p: p), PROMPT, "x", "y")  # type: ignore[misc]
        assert found is not None and found.p_a == 0.5 and found.flips
    assert await ask_both_orders(Told(lambda a, b: None if a == "y" else 1.0), PROMPT, "x", "y") is None


async def test_a_scorer_of_texts_is_believed() -> None:
    found = await ask_both_orders(Told(lambda a, b: 0.8 if a == "good" else 0.2), PROMPT, "good", "bad")
    assert found is not None and not found.flips
    assert found.p_a == pytest.approx(0.8)
    assert found.a_first == pytest.approx(found.a_second)


def test_the_bias_is_measured_and_its_intervals_respect_clusters() -> None:
    answers = [BothOrders(1.0, 0.0), BothOrders(0.9, 0.7), BothOrders(0.5, 0.0), BothOrders(0.2, 0.6)] * 5
    prompts = [0, 0, 1, 1] * 5
    found = position_bias(answers, prompts)
    assert found.flip_rate == clustered_rate([1.0, 0.0, 0.0, 1.0] * 5, prompts)
    assert found.position_effect.value == pytest.approx((1.0 + 0.2 + 0.5 - 0.4) / 4)
    assert found.position_effect.low < found.position_effect.value < found.position_effect.high


async def judged(scorer: ScoringService, running: Engine, text: str = "a long one") -> JudgedWinRate:
    judge = OpenAIJudge("j", running.url, "m")
    service = PolicyEvaluationService(scorer, lambda name: listed(text), Limits(), [judge])
    try:
        (report,) = (await service.run(PolicyEvaluationQuery(("p",), ASKED, judge="j"))).policies
    finally:
        await service.close()
    assert report.judged is not None
    return report.judged


@pytest.mark.parametrize("letter", ["A", "B"])
async def test_a_judge_that_sees_places_alone_gives_every_policy_a_half(
    scorer: ScoringService, letter: str
) -> None:
    async with engine(lambda exchange: exchange.json(completion(letter))) as running:
        found = await judged(scorer, running)
    assert found.win_rate is not None
    assert found.win_rate.raw.value == 0.5
    assert found.win_rate.length_controlled.value == pytest.approx(0.5)
    assert found.flip_rate is not None and found.flip_rate.value == 1.0
    assert found.position_effect is not None
    assert found.position_effect.value == (1.0 if letter == "A" else -1.0)
    assert (found.num_asked, found.num_undecided, len(running.seen)) == (12, 0, 24)


async def test_a_judge_of_length_is_seen_through(scorer: ScoringService) -> None:
    async with engine(judging(lambda a, b: len(a) > len(b))) as running:
        found = await judged(scorer, running)
    assert found.win_rate is not None and found.win_rate.raw.value == 1.0
    assert found.flip_rate is not None and found.flip_rate.value == 0.0
    assert found.position_effect is not None and found.position_effect.value == 0.0


async def test_what_is_undecided_is_left_out_and_counted(scorer: ScoringService) -> None:
    async def reply(exchange: Exchange) -> None:
        question = exchange.body["messages"][1]["content"]
        await exchange.json(completion("neither" if "say 3" in question else "A"))

    async with engine(reply) as running:
        found = await judged(scorer, running)
    assert (found.num_asked, found.num_undecided) == (12, 1)
    async with engine(lambda exchange: exchange.json(completion("neither"))) as running:
        found = await judged(scorer, running)
    assert (found.win_rate, found.flip_rate, found.num_undecided) == (None, None, 12)


async def test_what_the_judge_refuses_is_left_out_unless_it_refuses_all(scorer: ScoringService) -> None:
    async def reply(exchange: Exchange) -> None:
        question = exchange.body["messages"][1]["content"]
        await exchange.json(completion("A"), 400 if "say 3" in question else 200)

    async with engine(reply) as running:
        found = await judged(scorer, running)
    assert (found.num_asked, found.num_undecided) == (12, 1)
    async with engine(lambda exchange: exchange.json({}, 400)) as running:
        with pytest.raises(InvalidInput, match="judge j refused"):
            await judged(scorer, running)


async def test_a_judge_that_is_busy_or_stumbles_is_asked_again(
    scorer: ScoringService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.0)
    statuses = [500, 429]

    async def reply(exchange: Exchange) -> None:
        if statuses:
            status = statuses.pop()
            head = f"HTTP/1.1 {status} X\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close"
            exchange.writer.write(f"{head}\r\n\r\n".encode())
            await exchange.writer.drain()
            return
        await exchange.json(completion("A"))

    async with engine(reply) as running:
        found = await judged(scorer, running)
    assert (found.num_asked, statuses) == (12, [])


async def test_a_response_without_a_word_loses_unasked(scorer: ScoringService) -> None:
    judge = Told(lambda a, b: 1.0)
    mute = Scripted((0, ""), (1, "second"))
    service = PolicyEvaluationService(scorer, lambda name: mute, Limits(), [judge])
    query = PolicyEvaluationQuery(("p",), ASKED, n=2, judge="told")
    (report,) = (await service.run(query)).policies
    assert report.judged is not None and report.judged.win_rate is not None
    assert (report.judged.win_rate.raw.value, report.judged.num_asked) == (0.0, 0)
    assert report.unscored_rate == 0.5
