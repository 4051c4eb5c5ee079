"""The client against the real service: real domain layer and both real transports, over a fake model."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import guerdon
from guerdon import AsyncClient, Client
from guerdon.cli.demo_scoring import numbers
from guerdon.cli.main import main
from guerdon_service.core.limits import Limits
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, Served, served

ITEMS = [("the prompt", f"response {i}") for i in range(120)]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Served]:
    limits = Limits(max_items=50, max_item_chars=2000, max_body_bytes=100_000)
    async with served(limits=limits) as it:
        yield it


@pytest_asyncio.fixture
async def locked() -> AsyncIterator[Served]:
    async with served(keys=KEYS) as it:
        yield it


def urls(at: Served) -> tuple[str, str]:
    return f"http://127.0.0.1:{at.port}", f"grpc://127.0.0.1:{at.grpc_port}"


@pytest.fixture(params=["rest", "grpc"])
def url(request: pytest.FixtureRequest, running: Served) -> str:
    return urls(running)[request.param == "grpc"]


async def test_every_verb_is_equal_bit_for_bit_over_both_wires(running: Served) -> None:
    answers = []
    for url in urls(running):
        async with AsyncClient(url) as client:
            compared = client.compare([("p", "a", "bb"), ("p", "c", "c")])
            ranked = client.rank("p", ["a", "bb", "ccc"], profile="both")
            scored = client.score(ITEMS[:9], model="fake")
            answers.append((await scored, await compared, await ranked))
            assert [m.name for m in await client.models()] == ["fake"]
    assert numbers(answers[0]) == numbers(answers[1])


async def test_a_split_list_equals_its_items_alone(url: str) -> None:
    async with AsyncClient(url, chunk_size=50, max_concurrency=3) as client:
        whole = await client.score(ITEMS)
        alone = [(await client.score([item])).scores[0] for item in ITEMS[::20]]
    assert [s.reward for s in whole.scores[::20]] == [s.reward for s in alone]
    assert whole.usage.items == 120
    assert all(s.cached for s in alone)


async def test_the_sync_client_in_a_thread_beside_the_services_loop(url: str) -> None:
    def use() -> int:
        with Client(url, chunk_size=50) as client:
            assert client.model_info().name == "fake"
            assert client.rank("p", ["a", "bb"], top_k=1).results[0].index in (0, 1)
            return len(client.compare([("p", "a", "b")] * 60).preferences)

    assert await asyncio.to_thread(use) == 60


async def refusal(client: AsyncClient, *args: object, **options: object) -> guerdon.GuerdonError:
    with pytest.raises(guerdon.GuerdonError) as raised:
        await client.score(*args, **options)  # type: ignore[arg-type]
    return raised.value


async def test_refusals_have_their_types_and_params(url: str) -> None:
    async with AsyncClient(url, chunk_size=50) as client:
        empty = await refusal(client, [*ITEMS[:60], ("p", "")])
        assert (type(empty), empty.param) == (guerdon.InvalidInput, "items[60].response")
        long = await refusal(client, [("p", "x" * 65)])
        assert (type(long), long.param) == (guerdon.InputTooLong, "items[0].response")
        assert type(await refusal(client, ITEMS[:1], model="absent")) is guerdon.UnknownModel
        assert (await refusal(client, ITEMS[:1], profile="absent")).param == "profile"
        assert (await refusal(client, ITEMS[:1], lane="express")).param == "lane"
    async with AsyncClient(url, chunk_size=51) as client:
        assert type(await refusal(client, ITEMS)) is guerdon.TooManyItems
        assert type(await refusal(client, [("p" * 120_000, "r")])) is guerdon.PayloadTooLarge


@pytest.mark.parametrize("wire", [0, 1], ids=["rest", "grpc"])
async def test_keys(locked: Served, wire: int) -> None:
    url = urls(locked)[wire]
    for key, expected in ((None, guerdon.Unauthenticated), (ADMIN_KEY, guerdon.PermissionDenied)):
        async with AsyncClient(url, api_key=key) as client:
            assert type(await refusal(client, ITEMS)) is expected
    async with AsyncClient(url, api_key=SCORER_KEY) as client:
        assert len((await client.score(ITEMS)).scores) == 120


@pytest.mark.parametrize("wire", [0, 1], ids=["rest", "grpc"])
async def test_a_command_without_a_key_says_where_it_reads_one(
    locked: Served, wire: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(main, ["models", "list", "--url", urls(locked)[wire]]) == 2
    assert "send 'Authorization: Bearer KEY'; a command reads the key from GUERDON_API_KEY" in (
        capsys.readouterr().err
    )


async def test_models_are_loaded_and_unloaded(locked: Served) -> None:
    async with AsyncClient(urls(locked)[0], api_key=ADMIN_KEY) as admin:
        info = await admin.load_model("second", "double")
        assert (info.name, info.state, info.default) == ("second", "ready", False)
        assert info in await admin.models()
        await admin.unload_model("second")
        with pytest.raises(guerdon.UnknownModel):
            await admin.model_info("second")
        with pytest.raises(guerdon.UnknownModel):
            await admin.unload_model("second")


async def test_the_command_line(url: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    records = [{"id": i, "prompt": p, "response": r} for i, (p, r) in enumerate(ITEMS[:30])]
    records[7]["response"] = ""
    source.write_text("".join(json.dumps(r) + "\n" for r in records))
    argv = ["score", str(source), "--url", url, "--output", str(out)]
    assert await asyncio.to_thread(main, argv) == 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    async with AsyncClient(url) as client:
        alone = await client.score(ITEMS[:7])
    assert [x["reward"] for x in lines[:7]] == [s.reward for s in alone.scores]
    assert lines[7]["error"]["param"] == "response"
    assert [x["id"] for x in lines] == list(range(30))
