"""The contract with real models: bit for bit over every way, and `rank` and `compare` as `score`.

Each way in is a tenant of its own, so that none finds the others' scores in the cache.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import torch

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from tests.contract.harness import (
    KEYS,
    RIVAL_KEY,
    SCORER_KEY,
    Body,
    InProcess,
    Rest,
    Rpc,
    Served,
    Way,
    served,
)
from tests.contract.test_contract import comparable
from tests.tiny import tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_PROMPT = "Explain how a reward model ranks two answers."
PROMPT = "What is the capital of France?"
ANSWERS = [
    "Paris.",
    "The capital of France is Paris, a city on the Seine.",
    "I cannot help with that.",
    "Köln?",
]
SCORE: Body = {"items": [{"prompt": PROMPT, "response": answer} for answer in ANSWERS]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real() -> AsyncIterator[Served]:
    torch.set_num_threads(1)
    specs = (
        ModelSpec("encoder", str(tiny("bert"))),
        ModelSpec("decoder", str(tiny("llama")), dtype="bfloat16"),
    )
    async with served(*specs, load=load_model, keys=KEYS) as it:
        it.rest.headers["authorization"] = f"Bearer {SCORER_KEY}"
        yield it


def over_rpc(real: Served) -> Rpc:
    return Rpc(real.stub, (("authorization", f"Bearer {RIVAL_KEY}"),))


@pytest.mark.parametrize("model", ["encoder", "decoder"])
async def test_every_way_gives_the_same_bits(real: Served, model: str) -> None:
    ways: list[Way] = [Rest(real.rest), over_rpc(real), InProcess(real.service)]
    for verb, body in (
        ("score", SCORE),
        ("rank", {"prompt": PROMPT, "candidates": ANSWERS}),
        ("compare", {"pairs": [{"prompt": PROMPT, "a": ANSWERS[0], "b": b} for b in ANSWERS]}),
    ):
        first, *others = [comparable(await way(verb, body | {"model": model})) for way in ways]
        assert others == [first, first]


@pytest.mark.parametrize("model", ["encoder", "decoder"])
async def test_every_verb_gives_the_rewards_of_score(real: Served, model: str) -> None:
    rest, rpc = Rest(real.rest), over_rpc(real)
    scored = await rest(
        "score", {"model": model, "items": [{"prompt": OTHER_PROMPT, "response": a} for a in ANSWERS]}
    )
    assert not any(score["cached"] for score in scored["scores"])
    rewards = [score["reward"] for score in scored["scores"]]
    assert len(set(rewards)) == len(ANSWERS)
    ranked = await rpc("rank", {"model": model, "prompt": OTHER_PROMPT, "candidates": ANSWERS})
    assert not any(r["score"]["cached"] for r in ranked["results"])
    assert [(r["index"], r["reward"]) for r in ranked["results"]] == sorted(
        enumerate(rewards), key=lambda entry: -entry[1]
    )
    pairs = [
        {"prompt": OTHER_PROMPT, "a": ANSWERS[0], "b": ANSWERS[1]},
        {"prompt": OTHER_PROMPT, "a": ANSWERS[1], "b": ANSWERS[0]},
    ]
    there, back = (await rpc("compare", {"model": model, "pairs": pairs}))["preferences"]
    assert (there["a"]["reward"], there["b"]["reward"]) == tuple(rewards[:2])
    assert there["p_a"] + back["p_a"] == 1
    assert there["margin"] == -back["margin"]
