"""Ensembles of loaded models: what names their rewards, and how they are asked."""

from dataclasses import replace

import pytest

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.query import Options, ScoreQuery
from tests.fakes import WeightedSumBackend, load_fake, running_service

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
