"""One suite over {in-process, REST, gRPC}: equal results, bit for bit, and equal errors."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.harness import Body, InProcess, Refused, Rest, Rpc, Served, Way, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ITEM = {"prompt": "What is two and two?", "response": "Four."}
PAIR = {"prompt": "Name a colour.", "a": "Blue.", "b": "I would say that it is blue, or perhaps not."}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hi \n"}]
AWKWARD = ["🏳️‍🌈👩‍👩‍👧", "שלום עולם", "مرحبا", "a\x00b", "\u202eback", " \t spaces kept \n", "e\u0301"]

GOOD: dict[str, tuple[str, Body]] = {
    "one": ("score", {"items": [ITEM]}),
    "many": ("score", {"items": [ITEM, {"messages": CHAT, "response": "Hello."}] * 5}),
    "awkward text": ("score", {"items": [{"prompt": t, "response": t} for t in AWKWARD]}),
    "named model": ("score", {"model": "double", "items": [ITEM]}),
    "ensemble": ("score", {"model": "both", "items": [ITEM]}),
    "profile": ("score", {"profile": "both", "items": [ITEM]}),
    "bulk lane": ("score", {"lane": "bulk", "items": [ITEM]}),
    "deadline": ("score", {"deadline_ms": 60_000, "items": [ITEM]}),
    "truncated": ("score", {"items": [{"prompt": "long " * 40, "response": "short"}]}),
    "compare": (
        "compare",
        {"pairs": [PAIR, PAIR | {"b": PAIR["a"]}, {"messages": CHAT, "a": "x", "b": "y"}]},
    ),
    "compare by an ensemble": ("compare", {"model": "both", "pairs": [PAIR, PAIR | {"b": PAIR["a"]}]}),
    "rank": ("rank", {"prompt": "Pick.", "candidates": ["a", "bb", "a", "cc"]}),
    "rank top_k": ("rank", {"messages": CHAT, "candidates": ["a", "bb", "ccc"], "top_k": 2}),
    "rank one": ("rank", {"prompt": "Pick.", "candidates": ["a"]}),
    "models": ("models", {}),
}

BAD: dict[str, tuple[str, Body, str, str]] = {
    "no items": ("score", {"items": []}, "invalid_input", "items"),
    "no pairs": ("compare", {"pairs": []}, "invalid_input", "pairs"),
    "no candidates": ("rank", {"prompt": "p", "candidates": []}, "invalid_input", "candidates"),
    "empty prompt": ("score", {"items": [ITEM, ITEM | {"prompt": ""}]}, "invalid_input", "items[1].prompt"),
    "empty response": ("score", {"items": [ITEM | {"response": ""}]}, "invalid_input", "items[0].response"),
    "no prompt": ("score", {"items": [{"response": "r"}]}, "invalid_input", "items[0].prompt"),
    "two prompts": (
        "score",
        {"items": [{"prompt": "p", "messages": CHAT, "response": "r"}]},
        "invalid_input",
        "items[0].messages",
    ),
    "empty a": ("compare", {"pairs": [PAIR | {"a": ""}]}, "invalid_input", "pairs[0].a"),
    "empty b": ("compare", {"pairs": [PAIR, PAIR | {"b": ""}]}, "invalid_input", "pairs[1].b"),
    "pair without prompt": ("compare", {"pairs": [{"a": "x", "b": "y"}]}, "invalid_input", "pairs[0].prompt"),
    "empty candidate": (
        "rank",
        {"prompt": "p", "candidates": ["x", ""]},
        "invalid_input",
        "candidates[1]",
    ),
    "rank without prompt": ("rank", {"candidates": ["x"]}, "invalid_input", "prompt"),
    "top_k zero": ("rank", {"prompt": "p", "candidates": ["x"], "top_k": 0}, "invalid_input", "top_k"),
    "top_k negative": ("rank", {"prompt": "p", "candidates": ["x"], "top_k": -1}, "invalid_input", "top_k"),
    "too many": ("score", {"items": [ITEM] * 51}, "too_many_items", "items"),
    "too many, none of them with a prompt": (
        "score",
        {"items": [{"response": "r"}] * 51},
        "too_many_items",
        "items",
    ),
    "too many pairs, none of them with a prompt": (
        "compare",
        {"pairs": [{"a": "x", "b": "y"}] * 51},
        "too_many_items",
        "pairs",
    ),
    "too many candidates": (
        "rank",
        {"prompt": "p", "candidates": ["x"] * 51},
        "too_many_items",
        "candidates",
    ),
    "too long": (
        "score",
        {"items": [ITEM, ITEM | {"response": "x" * 2001}]},
        "input_too_long",
        "items[1].response",
    ),
    "response over the model": (
        "score",
        {"items": [ITEM | {"response": "x" * 100}]},
        "input_too_long",
        "items[0].response",
    ),
    "unknown model": ("score", {"model": "nobody", "items": [ITEM]}, "unknown_model", "model"),
    "unknown profile": ("score", {"profile": "nobody", "items": [ITEM]}, "invalid_input", "profile"),
    "unknown lane": ("score", {"lane": "fast", "items": [ITEM]}, "invalid_input", "lane"),
    "zero deadline": ("score", {"deadline_ms": 0, "items": [ITEM]}, "invalid_input", "deadline_ms"),
    "negative deadline": ("score", {"deadline_ms": -5, "items": [ITEM]}, "invalid_input", "deadline_ms"),
    "very long name": ("score", {"model": "m" * 100_000, "items": [ITEM]}, "unknown_model", "model"),
}


@pytest.mark.parametrize("case", GOOD)
async def test_every_way_gives_the_same_result_bit_for_bit(running: Served, way: Way, case: str) -> None:
    verb, body = GOOD[case]
    expected = comparable(await InProcess(running.service)(verb, body))
    assert comparable(await way(verb, body)) == expected


@pytest.mark.parametrize("case", BAD)
async def test_every_way_refuses_alike_and_a_good_request_beside_it_is_answered(
    running: Served, way: Way, case: str
) -> None:
    verb, body, code, param = BAD[case]
    with pytest.raises(Refused) as refused:
        await way(verb, body)
    with pytest.raises(Refused) as expected:
        await InProcess(running.service)(verb, body)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert param in refused.value.message
    assert refused.value.message == expected.value.message
    assert len((await way("score", {"items": [ITEM]}))["scores"]) == 1


async def test_draining_is_told_alike() -> None:
    async with served() as it:
        it.service.begin_drain()
        ways: list[Way] = [InProcess(it.service), Rest(it.rest), Rpc(it.stub)]
        told = [await _refusal(way, "score", {"items": [ITEM]}) for way in ways]
    assert [(r.code, r.retry_after_ms) for r in told] == [("not_ready", 1000)] * 3


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
    profile=st.sampled_from(["quality", "both"]),
)
async def test_any_text_scores_alike_over_every_way(
    running: Served, items: list[tuple[str, str]], profile: str
) -> None:
    body = {"profile": profile, "items": [{"prompt": p, "response": r} for p, r in items]}
    replies = [
        comparable(await way("score", body))
        for way in (InProcess(running.service), Rest(running.rest), Rpc(running.stub))
    ]
    assert replies[0] == replies[1] == replies[2]


async def _refusal(way: Way, verb: str, body: Body) -> Refused:
    with pytest.raises(Refused) as refused:
        await way(verb, body)
    return refused.value


def comparable(reply: Any) -> Any:
    """All but what may differ between two equal calls: times, cache hits and the request id."""
    if isinstance(reply, list):
        return [comparable(value) for value in reply]
    if not isinstance(reply, dict):
        return reply
    differing = ("cached", "request_id", "tokenize_ms", "queue_ms", "forward_ms", "total_ms")
    return {key: comparable(value) for key, value in reply.items() if key not in differing}
