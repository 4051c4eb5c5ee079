"""One version answers all parts of a long call and of a file, beside a canary and through a promotion."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import guerdon
from guerdon import AsyncClient
from guerdon.cli.main import main
from guerdon.transport import Payload, Transport, Verb, open_transport
from guerdon.types import Lane
from guerdon_service.app.listen import listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.core.auth import Keyring
from guerdon_service.shadow.plan import ShadowPlan
from tests.domain_fakes import services_of
from tests.shadow.trio import CANDIDATE_VERSION, CHAMPION_VERSION, NAME, Trio, trio

HALF = ShadowPlan(canary_share=0.5)
ITEMS = [(f"question {i}", "yes") for i in range(200)]


@dataclass(frozen=True)
class Watched:
    """A service with a candidate, and where it listens."""

    trio: Trio
    urls: dict[str, str]

    async def promote(self) -> None:
        self.trio.inner.catalog.point({(NAME, "champion"): CANDIDATE_VERSION})

    async def forget(self) -> None:
        await self.trio.inner.catalog.unload(f"{NAME}@{CHAMPION_VERSION}")


@asynccontextmanager
async def watched(plan: ShadowPlan) -> AsyncIterator[Watched]:
    async with (
        trio(plan) as t,
        listening(
            services_of(t.scorer),
            Settings(port=0, grpc_port=0),
            auth=Keyring(()),
            observer=PrometheusObserver(),
        ) as at,
    ):
        urls = {"rest": f"http://127.0.0.1:{at.port}", "grpc": f"grpc://127.0.0.1:{at.grpc_port}"}
        yield Watched(t, urls)


@pytest.mark.parametrize("wire", ["rest", "grpc"])
async def test_a_long_call_has_one_version_beside_a_canary(wire: str) -> None:
    async with watched(HALF) as it, AsyncClient(it.urls[wire], chunk_size=10) as client:
        sides = {(await client.score([item])).model.version for item in ITEMS[::10]}
        assert sides == {CHAMPION_VERSION, CANDIDATE_VERSION}, "its parts alone take different sides"
        whole = await client.score(ITEMS)
        named = await client.score(ITEMS, model=f"{NAME}@{whole.model.version}")
        pairs = await client.compare([(prompt, "a", "b") for prompt, _ in ITEMS])
    assert [s.reward for s in whole.scores] == [s.reward for s in named.scores]
    assert len(pairs.preferences) == len(ITEMS)


@pytest.mark.parametrize(("lane", "num_sides"), [("bulk", 1), ("interactive", 2)])
async def test_the_bulk_lane_has_no_share_in_the_canary(lane: Lane, num_sides: int) -> None:
    async with watched(HALF) as it, AsyncClient(it.urls["rest"]) as client:
        asked = [await client.score([item], lane=lane) for item in ITEMS[:40]]
    sides = {result.model.version for result in asked}
    assert len(sides) == num_sides and CHAMPION_VERSION in sides


async def test_tenants_of_the_canary_have_it_in_both_lanes() -> None:
    plan = ShadowPlan(canary_tenants=frozenset({""}))
    lanes: tuple[Lane, ...] = ("bulk", "interactive")
    async with watched(plan) as it, AsyncClient(it.urls["rest"]) as client:
        sides = {(await client.score(ITEMS[:1], lane=lane)).model.version for lane in lanes}
    assert sides == {CANDIDATE_VERSION}


def write(folder: Path) -> Path:
    path = folder / "in.jsonl"
    records = ({"prompt": prompt, "response": response} for prompt, response in ITEMS)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def rewards(out: Path) -> list[float]:
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(len(ITEMS)))
    return [line["reward"] for line in lines]


def keep(out: Path, num_lines: int) -> bytes:
    """What a run that was killed had written."""
    kept = b"".join(out.read_bytes().splitlines(keepends=True)[:num_lines])
    out.write_bytes(kept)
    return kept


@pytest.mark.parametrize("lane", ["bulk", "interactive"])
async def test_a_file_has_one_version_beside_a_canary(lane: str, tmp_path: Path) -> None:
    source, out = write(tmp_path), tmp_path / "out.jsonl"
    async with watched(HALF) as it:
        argv = ["score", str(source), "--url", it.urls["rest"], "--output", str(out), "--lane", lane]
        assert await asyncio.to_thread(main, argv) == 0
        keep(out, 70)
        assert await asyncio.to_thread(main, argv) == 0
        version = json.loads((tmp_path / "out.jsonl.run.json").read_text())["scored_by"]["version"]
        async with AsyncClient(it.urls["rest"]) as client:
            named = await client.score(ITEMS, model=f"{NAME}@{version}")
    assert rewards(out) == [s.reward for s in named.scores]


async def test_a_run_goes_on_with_its_version_after_a_promotion_while_that_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write(tmp_path), tmp_path / "out.jsonl"
    async with watched(ShadowPlan()) as it:
        argv = ["score", str(source), "--url", it.urls["grpc"], "--output", str(out)]
        assert await asyncio.to_thread(main, argv) == 0
        before = rewards(out)
        keep(out, 70)
        await it.promote()
        assert await asyncio.to_thread(main, argv) == 0
        assert rewards(out) == before
        kept = keep(out, 70)
        await it.forget()
        assert await asyncio.to_thread(main, argv) == 2
    told = capsys.readouterr().err
    assert (
        f"of model {NAME} {CHAMPION_VERSION} " in told and f"answers with {NAME} {CANDIDATE_VERSION} " in told
    )
    assert out.read_bytes() == kept


@dataclass
class Between:
    """A transport with something that happens before its second request."""

    inner: Transport
    happens: Callable[[], Awaitable[object]]
    num_calls: int = 0

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        self.num_calls += 1
        if self.num_calls == 2:
            await self.happens()
        return await self.inner.call(verb, payload, timeout_s)

    def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        return self.inner.stream(verb, payload, timeout_s)

    async def close(self) -> None:
        await self.inner.close()


async def test_a_call_goes_on_with_its_version_after_a_promotion_while_that_is_loaded() -> None:
    async with watched(ShadowPlan()) as it:
        transport = Between(open_transport(it.urls["rest"]), it.promote)
        async with AsyncClient(transport, chunk_size=50, max_concurrency=1) as client:
            assert (await client.score(ITEMS)).model.version == CHAMPION_VERSION
    assert transport.num_calls == 5, "one part of four was asked twice"


async def test_a_call_whose_version_is_let_go_names_both() -> None:
    async with watched(ShadowPlan()) as it:

        async def promote_and_forget() -> None:
            await it.promote()
            await it.forget()

        transport = Between(open_transport(it.urls["rest"]), promote_and_forget)
        both = f"{NAME} {CHAMPION_VERSION} .* {NAME} {CANDIDATE_VERSION} "
        async with AsyncClient(transport, chunk_size=50, max_concurrency=1) as client:
            with pytest.raises(guerdon.ModelChanged, match=both):
                await client.score(ITEMS)
