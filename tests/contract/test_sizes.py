"""What is far too large meets the usual bounds over both wires, and a good request beside it its answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.harness import Body, Refused, Rest, Rpc, Served, Way, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ITEM = {"prompt": "What is two and two?", "response": "Four."}
HUGE: dict[str, tuple[str, Body, str, str]] = {
    "100 000 items": ("score", {"items": [ITEM] * 100_000}, "too_many_items", "items"),
    "100 000 pairs": (
        "compare",
        {"pairs": [{"prompt": "p", "a": "a", "b": "b"}] * 100_000},
        "too_many_items",
        "pairs",
    ),
    "100 000 candidates": (
        "rank",
        {"prompt": "p", "candidates": ["c"] * 100_000},
        "too_many_items",
        "candidates",
    ),
    "a response of 1 M characters": (
        "score",
        {"items": [ITEM, ITEM | {"response": "x" * 1_000_000}]},
        "input_too_long",
        "items[1].response",
    ),
    "a prompt of 1 M characters": (
        "score",
        {"items": [ITEM | {"prompt": "x" * 1_000_000}]},
        "input_too_long",
        "items[0].prompt",
    ),
    "10 MB": ("score", {"items": [ITEM | {"response": "x" * 10_000_000}]}, "payload_too_large", "body"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def usual() -> AsyncIterator[Served]:
    """A service whose limits nobody has set."""
    async with served() as it:
        yield it


@pytest.mark.parametrize("wire", ["rest", "rpc"])
@pytest.mark.parametrize("case", HUGE)
async def test_far_too_much_is_refused_by_name(usual: Served, wire: str, case: str) -> None:
    way: Way = Rest(usual.rest) if wire == "rest" else Rpc(usual.stub)
    verb, body, code, param = HUGE[case]
    if (wire, param) == ("rpc", "body"):
        param = "message"
    good = asyncio.create_task(way("score", {"items": [ITEM]}))
    with pytest.raises(Refused) as refused:
        await way(verb, body)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert param in refused.value.message
    assert len((await good)["scores"]) == 1
