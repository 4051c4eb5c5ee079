"""However a list is split, the result is the one of its items alone."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from guerdon import AsyncClient, MockTransport, reward_handler
from tests.client.stub import stub_reward

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=40), st.integers(1, 50), st.integers(1, 6))
def test_merged_order_equals_per_item_results(
    items: list[tuple[str, str]], chunk_size: int, max_concurrency: int
) -> None:
    answer = reward_handler(stub_reward)

    async def shuffled(verb: object, payload: dict[str, object]) -> dict[str, object]:
        for _ in range(len(str(payload)) % 7):  # later chunks may answer first
            await asyncio.sleep(0)
        return answer(verb, payload)  # type: ignore[arg-type]

    client = AsyncClient(MockTransport(shuffled), chunk_size=chunk_size, max_concurrency=max_concurrency)
    result = asyncio.run(client.score(items))
    assert [s.reward for s in result.scores] == [stub_reward(*item) for item in items]
    assert result.usage.items == len(items)
    assert len(result.request_ids) == -(-len(items) // chunk_size)


def test_the_usage_of_a_call_is_the_sum_over_its_requests_times_included() -> None:
    """They run side by side, so the sum is work, not the time that passed."""
    answer = reward_handler(stub_reward)

    async def timed(verb: object, payload: dict[str, object]) -> dict[str, object]:
        reply = answer(verb, payload)  # type: ignore[arg-type]
        times = {"tokenize_ms": 1.0, "queue_ms": 20.0, "forward_ms": 300.0, "total_ms": 4000.0}
        return reply | {"usage": reply["usage"] | times}

    client = AsyncClient(MockTransport(timed), chunk_size=2, max_concurrency=3)
    usage = asyncio.run(client.score([("p", f"r{i}") for i in range(5)])).usage
    found = (usage.items, usage.tokenize_ms, usage.queue_ms, usage.forward_ms, usage.total_ms)
    assert found == (5, 3.0, 60.0, 900.0, 12000.0)
