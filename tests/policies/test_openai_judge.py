"""A judge behind a URL: what is read from its answer, and that its taste for a place comes to nothing."""

import asyncio
from collections.abc import Callable
from math import log
from typing import Any

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import BackendFailed, GuerdonError, InvalidInput, Overloaded
from guerdon_service.policies.openai_judge import OpenAIJudge
from guerdon_service.policies.verdict import read_p_first
from tests.policies.engine_stub import Exchange, Reply, engine

PROMPT = (Message("system", "be brief"), Message("user", "Name a prime."))


def completion(content: str, *tokens: dict[str, float]) -> dict[str, Any]:
    """A chat completion; each of `tokens` is the distribution of one place, its first entry what was said."""
    places = [
        {
            "token": next(iter(place)),
            "logprob": log(next(iter(place.values()))),
            "top_logprobs": [{"token": t, "logprob": log(p)} for t, p in place.items()],
        }
        for place in tokens
    ]
    told = {"logprobs": {"content": places}} if tokens else {}
    return {"choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"} | told]}


def told(token: str, alternatives: list[dict[str, Any]]) -> dict[str, Any]:
    """One place with odd alternatives."""
    body = completion(token)
    place = {"token": token, "logprob": -0.5, "top_logprobs": alternatives}
    body["choices"][0]["logprobs"] = {"content": [place]}
    return body


@pytest.mark.parametrize(
    ("body", "p_first"),
    [
        (completion("A"), 1.0),
        (completion("**B**."), 0.0),
        (completion("A longer answer is no better one: B"), 0.0),
        (completion("BAD"), None),
        (completion(""), None),
        (completion("A", {"A": 0.6, "B": 0.2, "C": 0.2}), 0.75),
        (completion("B", {" B": 0.5, "A": 0.2, "▁A": 0.1, "B": 0.2}), 0.3),
        (completion("A", {"A": 0.9, "The": 0.1}), 1.0),
        (completion("So: B", {"So": 1.0}, {":": 1.0}, {" B": 0.75, " A": 0.25}), 0.25),
        (completion("neither", {"neither": 1.0}), None),
        (told("B", []), 0.0),
        (told("A", [{"token": "The", "logprob": -0.1}]), 1.0),
        (told("B", [{"token": "A", "logprob": -9999.0}, {"token": "B", "logprob": -9999.0}]), 0.0),
    ],
)
def test_the_letter_and_its_probability_are_read(body: dict[str, Any], p_first: float | None) -> None:
    found = read_p_first(body)
    assert found == (None if p_first is None else pytest.approx(p_first))


async def asked(reply: Reply, **options: Any) -> tuple[float | None, list[Exchange]]:
    async with engine(reply) as running:
        judge = OpenAIJudge("j", running.url, "m", **options)
        try:
            return await judge.p_first(PROMPT, "Seven.", "Nine."), running.seen
        finally:
            await judge.close()


async def test_the_request_shows_the_conversation_and_both_responses_in_order() -> None:
    found, (seen,) = await asked(lambda e: e.json(completion("A")), api_key="k", max_tokens=3)
    assert found == 1.0
    assert (seen.path, seen.headers["authorization"]) == ("/v1/chat/completions", "Bearer k")
    question = seen.body["messages"][1]["content"]
    places = [question.index(text) for text in ("be brief", "Name a prime.", "Seven.", "Nine.")]
    assert places == sorted(places)
    assert {k: v for k, v in seen.body.items() if k != "messages"} == {
        "model": "m",
        "max_tokens": 3,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 5,
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidInput), (401, BackendFailed), (429, Overloaded), (500, BackendFailed)],
)
async def test_refusals_blame_the_right_side_and_tell_no_details(
    status: int, kind: type[GuerdonError], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GuerdonError) as refused:
        await asked(lambda e: e.json({"error": "secret"}, status))
    assert type(refused.value) is kind
    logged = [record.__dict__ for record in caplog.records if record.name.startswith("guerdon")]
    assert "secret" not in refused.value.message + repr(logged) and str(status) in repr(logged)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"choices": []},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {}, "logprobs": {"content": [{"token": "A", "top_logprobs": [{}]}]}}]},
    ],
)
async def test_what_is_no_completion_is_a_failure(body: Any) -> None:
    with pytest.raises(BackendFailed, match="no chat completion"):
        await asked(lambda e: e.json(body))


async def test_an_engine_that_stalls_is_given_up() -> None:
    async def stall(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    with pytest.raises(BackendFailed, match="nothing in time"):
        await asked(stall, timeout_s=0.2)


def judging(prefers_a: Callable[[str, str], bool]) -> Reply:
    """An upstream that reads both responses out of the question and answers with a letter."""

    async def reply(exchange: Exchange) -> None:
        question: str = exchange.body["messages"][1]["content"]
        first, second = (
            question.split(f"<response_{letter}>\n")[1].split(f"\n</response_{letter}>")[0] for letter in "AB"
        )
        await exchange.json(completion("A" if prefers_a(first, second) else "B"))

    return reply
