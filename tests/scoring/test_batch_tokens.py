"""A model's batches have the token budget of the device it is on."""

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import BatchReport, NullObserver
from guerdon_service.core.query import ScoreQuery
from tests.fakes import running_service

LIMITS = Limits(max_batch_tokens=40, max_batch_tokens_cuda=120)


class Batches(NullObserver):
    """Tokens of each."""

    def __init__(self) -> None:
        self.num_tokens: list[int] = []

    def batch(self, model: str, report: BatchReport) -> None:
        self.num_tokens.append(report.num_tokens)


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        (ModelSpec("m", "good"), 40),
        (ModelSpec("m", "good", device="cuda"), 120),
        (ModelSpec("m", "good", devices=("cuda:0", "cuda:1")), 120),
        (ModelSpec("m", "good", device="cuda", devices=("cpu",)), 40),
    ],
)
async def test_the_budget_of_a_batch_is_that_of_the_device(spec: ModelSpec, most: int) -> None:
    seen = Batches()
    items = tuple(Conversation.of("why?", f"answer {i:02}"[-6:]) for i in range(24))  # of 10 tokens each
    async with running_service(spec, limits=LIMITS, observer=seen) as service:
        await service.score(ScoreQuery(items))
        assert service.batch_tokens(spec.name) == most
    assert seen.num_tokens == [most] * (240 // most)


async def test_an_ensemble_has_the_least_budget_of_its_members() -> None:
    members = ModelSpec("on-cpu", "good"), ModelSpec("on-cuda", "good", device="cuda")
    both = ModelSpec("both", "", members=("on-cuda", "on-cpu"))
    async with running_service(*members, both, limits=LIMITS) as service:
        assert [service.batch_tokens(name) for name in ("both", "on-cuda")] == [40, 120]
