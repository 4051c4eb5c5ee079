"""Ensembles of loaded models: what names their rewards, and how they are asked."""

import asyncio
import threading
from dataclasses import replace

import pytest

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.scoring.at_once import at_once
from tests.fakes import CodePointEncoder, WeightedSumBackend, load_fake, running_service

MEMBERS = (ModelSpec("one", "good"), ModelSpec("two", "double"))
BOTH = ModelSpec("both", "", members=("one", "two"), conservatism=0.5)
QUERY = ScoreQuery((Conversation.of("why?", "because"),), Options(model="both"))


def load_as_told(spec: ModelSpec) -> LoadedModel:
    """A back end of the dtype that was asked for."""
    backend = WeightedSumBackend()
    backend.dtype = spec.dtype
    return replace(load_fake(spec), backend=backend)


async def digest_of(ensemble: ModelSpec, *members: ModelSpec) -> str:
    async with running_service(*members, ensemble, load=load_as_told) as service:
        return (await service.score(QUERY)).model.digest


async def test_the_digest_covers_whatever_the_rewards_depend_on() -> None:
    narrow = replace(MEMBERS[1], dtype="bfloat16")
    told = [
        await digest_of(BOTH, *MEMBERS),
        await digest_of(replace(BOTH, conservatism=1.0), *MEMBERS),
        await digest_of(BOTH, MEMBERS[0], narrow),
        await digest_of(replace(BOTH, members=("one", "three")), *MEMBERS, ModelSpec("three", "good")),
    ]
    assert len(set(told)) == len(told)
    assert await digest_of(BOTH, *MEMBERS) == told[0]


@pytest.mark.parametrize("members", [("one", "one"), ("one", "two", "one@champion")])
async def test_no_member_counts_twice(members: tuple[str, ...]) -> None:
    async with running_service(*MEMBERS) as service:
        with pytest.raises(InvalidInput, match="twice") as refused:
            await service.load_model(replace(BOTH, members=members))
        assert refused.value.param == "members"
        assert [info.name for info in service.models()] == ["one", "two"]


async def test_a_member_that_fails_ends_the_others_work() -> None:
    fail, go_on = threading.Event(), threading.Event()
    busy = WeightedSumBackend(before=lambda: go_on.wait(30))

    class Refusing(CodePointEncoder):
        def encode(self, conversation: Conversation, param: str) -> Encoded:
            assert fail.wait(30)
            raise InputTooLong(f"{param} is too long; shorten it", param=param)

    def load(spec: ModelSpec) -> LoadedModel:
        model = load_fake(spec)
        return replace(model, encoder=Refusing()) if spec.name == "two" else replace(model, backend=busy)

    async with running_service(*MEMBERS, BOTH, load=load) as service:
        engine = service.catalog.resolve("one").ready_scorer().engine
        blocker = asyncio.create_task(service.score(replace(QUERY, options=Options(model="one"))))
        while not busy.num_forwards:
            await asyncio.sleep(0)
        other = ScoreQuery((Conversation.of("why?", "another"),), Options(model="both"))
        asked = asyncio.create_task(service.score(other))
        while not engine.state()["queued_items"]:
            await asyncio.sleep(0)
        fail.set()
        with pytest.raises(InputTooLong, match="response is too long"):
            await asked
        assert engine.state()["queued_items"] == 0, "nobody waits for it"
        go_on.set()
        await blocker
    assert busy.num_forwards == 1


async def test_of_several_members_that_fail_the_first_in_order_is_told() -> None:
    gates = [asyncio.get_running_loop().create_future() for _ in range(3)]
    begun: list[int] = []

    async def fail(place: int) -> None:
        begun.append(place)
        await gates[place]
        raise InvalidInput(f"member {place}", param="")

    asked = asyncio.create_task(at_once(fail, 3, 3))
    while len(begun) < 3:
        await asyncio.sleep(0)
    for gate in reversed(gates):  # the last fails first
        gate.set_result(None)
    with pytest.raises(InvalidInput, match="member 0"):
        await asked
