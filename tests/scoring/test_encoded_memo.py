"""Conversations seen lately are not tokenized again; nothing else about an answer changes."""

import asyncio
import time
import tracemalloc

import numpy as np
import orjson
import pytest

from guerdon_service.core.artifact import LoadedModel
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.scoring.encoded_memo import EncodedMemo, Known
from tests.fakes import MAX_TOKENS, CodePointEncoder, WeightedSumBackend, manifest, running_service


class CountingEncoder(CodePointEncoder):
    """Notes what it was asked to tokenize."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        self.asked.append(conversation.response)
        return super().encode(conversation, param)


def query(*responses: str, tenant: str = "") -> ScoreQuery:
    items = tuple(Conversation.of("say something", r) for r in responses)
    return ScoreQuery(items, Options(tenant=tenant))


async def test_only_new_conversations_are_tokenized_and_scores_stay() -> None:
    encoder = CountingEncoder()
    load = lambda spec: LoadedModel(spec, manifest(spec.name), encoder, WeightedSumBackend())  # noqa: E731
    async with running_service(load=load) as service:
        first = await service.score(query("one", "two"))
        again = await service.score(query("two", "three", "one"))
        assert sorted(encoder.asked) == ["one", "three", "two"]
        assert [s.raw for s in (again.scores[2], again.scores[0])] == [s.raw for s in first.scores]
        assert again.scores[0].tokens == first.scores[1].tokens
        await service.score(query("one", tenant="other"))
        assert encoder.asked.count("one") == 2, "tenants share nothing"


async def test_known_scores_asked_for_without_end_leave_others_their_turn() -> None:
    async with running_service() as service:
        await service.score(query("one"))
        other = asyncio.create_task(asyncio.sleep(0))
        asked_until = time.monotonic() + 30
        while not other.done():
            await service.score(query("one"))
            assert time.monotonic() < asked_until, "the loop never turned"


async def test_bulk_work_is_not_remembered_and_may_use_what_is() -> None:
    encoder = CountingEncoder()
    load = lambda spec: LoadedModel(spec, manifest(spec.name), encoder, WeightedSumBackend())  # noqa: E731
    async with running_service(load=load) as service:
        for lane, response in ((Lane.BULK, "b"), (Lane.BULK, "b"), (Lane.INTERACTIVE, "i"), (Lane.BULK, "i")):
            await service.score(ScoreQuery((Conversation.of("p", response),), Options(lane=lane)))
    assert encoder.asked == ["b", "b", "i"]


async def test_roles_and_the_borders_of_turns_make_another_conversation() -> None:
    encoder = CountingEncoder()
    load = lambda spec: LoadedModel(spec, manifest(spec.name), encoder, WeightedSumBackend())  # noqa: E731
    prompts = [
        (Message("user", "a"), Message("user", "b")),
        (Message("user", "ab"),),
        (Message("system", "a"), Message("user", "b")),
    ]
    async with running_service(load=load) as service:
        for prompt in prompts:
            await service.score(ScoreQuery((Conversation(prompt, "r"),)))
    assert len(encoder.asked) == len(prompts)


async def test_a_refusal_is_given_each_time_with_its_own_param() -> None:
    async with running_service() as service:
        long = "x" * (MAX_TOKENS + 1)
        for items, param in ((("ok", long), "items[1].response"), ((long,), "items[0].response")):
            with pytest.raises(InputTooLong) as error:
                await service.score(query(*items))
            assert error.value.param == param


def test_memory_stays_within_the_bound_and_the_least_recently_used_leave_first() -> None:
    memo, bound = EncodedMemo(max_bytes=2_000_000), 2_000_000
    known = [(f"{i} " + "y" * (i % 700), np.full(1 + i % 200, i, np.int32)) for i in range(6000)]
    tracemalloc.start()
    try:
        for i, (text, ids) in enumerate(known):
            own = Known(Encoded(ids.copy(), 1, truncated=False), i.to_bytes(32, "big"))
            memo.put("", Conversation.of("p" + text, text + "!"), own)
            memo.get("", Conversation.of("p" + known[0][0], known[0][0] + "!"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held <= 1.1 * bound
    last, early = known[-1][0], known[1][0]
    assert memo.get("", Conversation.of("p" + last, last + "!")) is not None
    assert memo.get("", Conversation.of("p" + early, early + "!")) is None
    assert memo.get("", Conversation.of("p" + known[0][0], known[0][0] + "!")) is not None, "it was in use"


def test_putting_a_conversation_again_counts_its_bytes_once() -> None:
    memo = EncodedMemo(max_bytes=2_000)
    known = Known(Encoded(np.zeros(4, np.int32), 1, truncated=False), bytes(32))
    for _ in range(100):
        memo.put("", Conversation.of("p", "r"), known)
    assert memo.get("", Conversation.of("p", "r")) is known


def test_strings_that_grow_after_they_were_counted_do_not_move_the_bound() -> None:
    memo = EncodedMemo(max_bytes=20_000)
    known = Known(Encoded(np.zeros(4, np.int32), 1, truncated=False), bytes(32))
    asked = [Conversation.of("p", f"{i} " + "字" * 1000) for i in range(400)]
    for conversation in asked:
        memo.put("", conversation, known)
        orjson.dumps(conversation.response)  # a string keeps the UTF-8 that it was asked for
    kept = [i for i, conversation in enumerate(asked) if memo.get("", conversation)]
    assert 1 <= len(kept) <= 10 and kept[-1] == 399
