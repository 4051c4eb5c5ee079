import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import BackendFailed, InvalidInput, UnknownModel
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import ForwardStats
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.evaluation.read import chunks, read_items
from guerdon_service.evaluation.score import CONCURRENCY, Asked, pin, score_chunks
from guerdon_service.scoring import patience
from guerdon_service.scoring.service import ScoringService
from tests.evaluation.data import pairs, write
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest, running_service

ASKED = Asked("fake", None)


async def score_all(
    service: ScoringService, path: Path, size: int = 8, digest: str = "digest-of-fake"
) -> dict[str, ItemScores]:
    todo = chunks(read_items([path]), size)
    found: dict[str, ItemScores] = {}
    async for scores in score_chunks(service, ASKED, digest, lambda: next(todo, [])):
        for item in scores:
            assert item.item_id not in found
            found[item.item_id] = item
    return found


async def test_scores_equal_those_of_the_score_verb_bit_for_bit(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", pairs(50))
    async with running_service() as service:
        found = await score_all(service, path)
        assert len(found) == 50
        for item in read_items([path]):
            for i, conversation in enumerate(item.conversations()):
                alone = await service.score(ScoreQuery((conversation,), Options("fake")))
                rewards = found[item.id].rewards
                assert rewards is not None
                assert rewards[i] == alone.scores[0].reward


async def test_an_item_that_is_too_long_is_recorded_and_its_mates_are_scored(tmp_path: Path) -> None:
    records = pairs(20)
    records[3]["rejected"] = records[17]["chosen"] = "x" * 100
    path = write(tmp_path / "data.jsonl", records)
    async with running_service() as service:
        found = await score_all(service, path)
    assert {i for i, s in found.items() if s.rewards is None} == {"pair-3", "pair-17"}
    assert len(found) == 20


class PickyBackend(WeightedSumBackend):
    """Gives NaN for one response, which the engine calls a failed forward."""

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        rows, stats = super().forward(batch)
        for i, encoded in enumerate(batch):
            if ord("!") in encoded.input_ids:
                rows[i] = np.nan
        return rows, stats


async def test_a_back_end_that_fails_for_a_while_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No item counts as refused for it: that would be a measure of the weather."""
    left = 3 * (patience.ATTEMPTS - 1)

    def falter() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise RuntimeError("out of memory")

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), WeightedSumBackend(before=falter))

    monkeypatch.setattr(patience, "RETRY_S", 0.0)
    path = write(tmp_path / "data.jsonl", pairs(1))
    async with running_service(load=load) as service:
        found = await score_all(service, path)
    assert left < 0
    assert [s.rewards is None for s in found.values()] == [False]


async def test_an_item_that_the_back_end_always_fails_on_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), PickyBackend())

    monkeypatch.setattr(patience, "RETRY_S", 0.0)
    records = pairs(20)
    records[5]["chosen"] = "wow!"
    path = write(tmp_path / "data.jsonl", records)
    async with running_service(load=load) as service:
        with pytest.raises(BackendFailed, match=r"items pair-0 to pair-7: .* not finite"):
            await score_all(service, path)


async def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", pairs(60))
    async with running_service(limits=Limits(max_queued_tokens=100, max_batch_tokens=64)) as service:
        assert len(await score_all(service, path)) == 60


async def test_chunks_above_the_services_limit_are_split(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", pairs(20))
    async with running_service(limits=Limits(max_items=3)) as service:
        assert len(await score_all(service, path, size=20)) == 20


async def test_another_version_under_the_name_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", pairs(4))
    async with running_service() as service:
        with pytest.raises(InvalidInput, match="during the evaluation"):
            await score_all(service, path, digest="another")


async def test_unknown_models_and_profiles_are_refused_at_once() -> None:
    async with running_service() as service:
        assert (await pin(service, ASKED)).digest == "digest-of-fake"
        assert (await pin(service, Asked("fake", "both"))).profile == "both"
        with pytest.raises(UnknownModel):
            await pin(service, Asked("other", None))
        with pytest.raises(InvalidInput):
            await pin(service, Asked("fake", "nonsense"))


async def test_several_requests_are_under_way_at_once_and_no_more(tmp_path: Path) -> None:
    most, now = 0, 0
    full = asyncio.Event()

    class Counting(ScoringService):
        async def score(self, query: ScoreQuery):  # type: ignore[no-untyped-def]
            nonlocal most, now
            now += 1
            most = max(most, now)
            if now == CONCURRENCY:
                full.set()
            try:
                await full.wait()
                return await super().score(query)
            finally:
                now -= 1

    path = write(tmp_path / "data.jsonl", pairs(64))
    async with running_service() as service:
        service.__class__ = Counting
        async with asyncio.timeout(60):
            await score_all(service, path)
    assert most == 3


async def test_closing_the_stream_stops_the_work(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", pairs(64))
    async with running_service() as service:
        todo = chunks(read_items([path]), 4)
        stream = score_chunks(service, ASKED, "digest-of-fake", lambda: next(todo, []))
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        assert {t for t in asyncio.all_tasks() if "score_items" in repr(t)} == set()
