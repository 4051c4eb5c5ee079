"""A policy behind a URL: candidates as they finish; what stalls, dies or lies is a clear error."""

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import BackendFailed, GuerdonError, InvalidInput, Overloaded
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.policies.openai_policy import OpenAIPolicy
from guerdon_service.policies.retry_after import retry_after_ms
from tests.policies.engine_stub import Exchange, Reply, engine

PROMPT = (Message("system", "be brief"), Message("user", "hi"))
PARAMS = SamplingParams(max_tokens=9, temperature=0.5, top_p=0.9, seed=4)


async def collect(reply: Reply, n: int, **options: Any) -> tuple[list[Generated], GuerdonError | None]:
    """What arrived, and the error that ended it."""
    found: list[Generated] = []
    async with engine(reply) as running:
        policy = OpenAIPolicy("p", running.url, "m", **options)
        try:
            async for generated in policy.generate(PROMPT, n, PARAMS):
                found.append(generated)
        except GuerdonError as err:
            return found, err
        finally:
            await policy.close()
    return found, None


async def two_streamed(exchange: Exchange) -> None:
    await exchange.start()
    await exchange.send(": a comment\n\n")
    await exchange.delta(1, "Good ")
    await exchange.delta(0, "Hello", "length")
    await exchange.delta(1, "day", None)
    await exchange.delta(0, "")
    await exchange.delta(1, None, "stop")
    await exchange.send('data: {"choices": [], "usage": {"completion_tokens": 3}}\n\ndata: [DONE]\n\n')
    await exchange.end()


WHOLE = {
    "choices": [
        {"index": 1, "message": {"content": "Good day"}, "finish_reason": "stop"},
        {"index": 0, "message": {"content": None}, "finish_reason": "length"},
    ],
    "usage": {"completion_tokens": 5},
}


async def test_streamed_candidates_come_as_they_finish() -> None:
    found, error = await collect(two_streamed, 2)
    assert error is None
    assert found == [Generated(0, "Hello", 0, "length"), Generated(1, "Good day", 0, "stop")]


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", ""])
async def test_a_response_may_hold_any_line_separator(end: str) -> None:
    """Engines write what is no ASCII as it is."""
    text = "a\u2028b\x85c\u2029d\x1ce"
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    event = f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}"

    async def reply(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(event[:9])
        await exchange.send(event[9:] + end)
        await exchange.end()

    assert await collect(reply, 1) == ([Generated(0, text, 0, "stop")], None)


async def test_a_finished_candidate_does_not_wait_for_the_others() -> None:
    go_on = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.delta(1, "first", "stop")
        await go_on.wait()
        await exchange.delta(0, "second", "stop")
        await exchange.end()

    async with engine(reply) as running:
        policy = OpenAIPolicy("p", running.url, "m")
        stream = policy.generate(PROMPT, 2, PARAMS)
        assert (await anext(stream)).text == "first"
        go_on.set()
        assert [g.text async for g in stream] == ["second"]
        await policy.close()


async def test_a_whole_reply_is_read_too() -> None:
    found, error = await collect(lambda e: e.json(WHOLE), 2, stream=False)
    assert error is None
    assert found == [Generated(1, "Good day", 0, "stop"), Generated(0, "", 0, "length")]
    one = {"choices": WHOLE["choices"][1:], "usage": {"completion_tokens": 5}}  # type: ignore[index]
    assert (await collect(lambda e: e.json(one), 1, stream=False))[0] == [Generated(0, "", 5, "length")]


async def test_the_request_is_what_engines_expect() -> None:
    async with engine(two_streamed) as running:
        policy = OpenAIPolicy("p", running.url + "/", "some/model", api_key="k")
        assert len([g async for g in policy.generate(PROMPT, 2, PARAMS)]) == 2
        await policy.close()
    (seen,) = running.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer k"
    assert seen.body == {
        "model": "some/model",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "n": 2,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 4,
        "stream": True,
    }


async def test_an_engine_that_dies_leaves_what_was_finished() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.delta(2, "done", "stop")
        await exchange.delta(0, "half")

    found, error = await collect(reply, 3)
    assert [g.text for g in found] == ["done"]
    assert isinstance(error, BackendFailed) and "could not be read to the end" in error.message


async def test_an_engine_that_stalls_is_given_up() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.delta(0, "done", "stop")
        await asyncio.Event().wait()

    found, error = await collect(reply, 2, stall_timeout_s=0.2)
    assert [g.text for g in found] == ["done"]
    assert isinstance(error, BackendFailed) and "nothing in time" in error.message


async def test_an_engine_that_is_not_there_is_a_failure() -> None:
    async with engine(two_streamed) as gone:
        url = gone.url
    policy = OpenAIPolicy("p", url, "m")
    with pytest.raises(BackendFailed, match="policy p"):
        _ = [g async for g in policy.generate(PROMPT, 1, PARAMS)]
    await policy.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (422, InvalidInput),
        (401, BackendFailed),
        (404, BackendFailed),
        (429, Overloaded),
        (500, BackendFailed),
    ],
)
async def test_refusals_blame_the_right_side_and_tell_no_details(
    status: int, kind: type[GuerdonError], caplog: pytest.LogCaptureFixture
) -> None:
    found, error = await collect(lambda e: e.json({"error": "secret"}, status), 1)
    assert found == []
    assert type(error) is kind
    assert "secret" not in error.message
    logged = [record.__dict__ for record in caplog.records if record.name.startswith("guerdon")]
    assert str(status) in repr(logged) and "secret" not in repr(logged)


async def test_a_full_engine_says_when_to_ask_again() -> None:
    _, error = await collect(lambda e: e.json({}, 429, "Retry-After: 3\r\n"), 1)
    assert error is not None and error.retry_after_ms == 3000


@pytest.mark.parametrize(
    ("told", "low", "high"),
    [
        ("7", 7000, 7000),
        ("", 1000, 1000),
        ("soon", 1000, 1000),
        ("-1", 1000, 1000),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
        ("2592000", 3_600_000, 3_600_000),
        ("9" * 5000, 1000, 1000),
        ("1 Jan 99999999999999999999 00:00:00 GMT", 1000, 1000),
    ],
)
def test_when_to_ask_again_is_told_in_seconds_or_by_a_date(told: str, low: int, high: int) -> None:
    assert low <= retry_after_ms({"retry-after": told}) <= high


def test_a_date_is_told_from_now() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(minutes=30), usegmt=True)  # in whole seconds
    assert 1_200_000 <= retry_after_ms({"retry-after": at}) <= 1_800_000


@pytest.mark.parametrize(
    "text",
    [
        "data: nonsense\n\n",
        "data: []\n\n",
        'data: {"object": "list"}\n\n',
        'data: {"choices": [{"index": 7, "delta": {"content": "x"}}]}\n\n',
        'data: {"choices": [{"index": 0, "delta": {"content": 5}, "finish_reason": "stop"}]}\n\n',
        'data: {"choices": [{"index": [], "delta": {"content": "x"}}]}\n\n',
    ],
)
async def test_what_is_no_completion_is_a_failure(text: str) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(text)
        await exchange.end()

    found, error = await collect(reply, 1)
    assert found == []
    assert isinstance(error, BackendFailed) and "no chat completion" in error.message


async def test_an_engine_that_ignores_n_is_told() -> None:
    one = {"choices": WHOLE["choices"][1:]}  # type: ignore[index]
    found, error = await collect(lambda e: e.json(one), 4, stream=False)
    assert len(found) == 1
    assert isinstance(error, BackendFailed) and "gave 1 of 4 responses" in error.message


async def test_closing_the_iterator_closes_the_connection() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.delta(0, "done", "stop")
        await asyncio.Event().wait()

    async with engine(reply) as running:
        policy = OpenAIPolicy("p", running.url, "m")
        generating: Any = policy.generate(PROMPT, 2, PARAMS)
        async with aclosing(generating) as stream:
            await anext(stream)
        await running.left.wait()
        await policy.close()
