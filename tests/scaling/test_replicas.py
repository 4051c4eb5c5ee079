"""Any number of service processes are one service: same scores, one cache, one registry, none missed."""

import asyncio
from collections.abc import Iterator

import pytest

from guerdon import AsyncClient
from guerdon.types import ScoreResult
from tests.faults.proxy import Proxy
from tests.postgres_server import PostgresServer, postgres_server
from tests.redis_server import RedisServer
from tests.scaling.cluster import Cluster, running_cluster
from tests.tiny import build_tiny

__all__ = ["postgres_server"]
pytestmark = pytest.mark.timeout(900)

ITEMS = [("How does one boil an egg?", f"In {n} minutes" + ", slowly" * (n % 7)) for n in range(24)]
NUM_CLIENTS, NUM_BEFORE, NUM_AFTER = 8, 80, 160
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def cluster(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    store = tmp_path_factory.mktemp("scaling") / "models"
    for seed in (1, 2):
        build_tiny("bert", store / f"v{seed}", seed=seed)
    with RedisServer() as redis, running_cluster(store, postgres_server.new_database(), redis) as made:
        yield made


async def asked(url: str, items: list[tuple[str, str]]) -> ScoreResult:
    async with AsyncClient(url) as client:
        return await client.score(items)


def rewards(result: ScoreResult) -> list[float]:
    return [score.reward for score in result.scores]


async def test_every_replica_computes_the_same_bits(cluster: Cluster) -> None:
    found = []
    for turn, replica in enumerate(cluster.replicas):
        for url in (replica.rest, replica.grpc):
            turned = ITEMS[turn:] + ITEMS[:turn]  # so that each packs its batches otherwise
            result = await asked(url, turned)
            if url == replica.rest:
                assert result.usage.cached == 0, "it was to compute them itself"
            found.append(dict(zip(turned, rewards(result), strict=True)))
        cluster.until_cached(len(ITEMS))
        cluster.forget_cached()
    assert all(each == found[0] for each in found)
    assert len(set(found[0].values())) == len(ITEMS), "scores that are all equal prove nothing"


async def test_whichever_replica_answers_behind_a_balancer(cluster: Cluster) -> None:
    direct = rewards(await asked(cluster.replicas[0].rest, ITEMS))
    for address in ("rest", "grpc"):
        ports = [int(getattr(replica, address).rsplit(":", 1)[1]) for replica in cluster.replicas]
        async with Proxy(ports).listening() as balancer:
            scheme = "http" if address == "rest" else "grpc"
            for _ in ports:  # a new connection goes to the next replica
                assert rewards(await asked(f"{scheme}://127.0.0.1:{balancer.port}", ITEMS)) == direct


async def test_what_one_replica_computed_the_others_take_from_redis(cluster: Cluster) -> None:
    cluster.forget_cached()
    fresh = [(prompt, f"{response}, they say") for prompt, response in ITEMS]
    first, *others = cluster.replicas
    computed = await asked(first.rest, fresh)
    assert computed.usage.cached == 0
    cluster.until_cached(len(fresh))
    for other in others:
        taken = await asked(other.rest, fresh)
        assert taken.usage.cached == len(fresh)
        assert rewards(taken) == rewards(computed)


async def test_what_one_replica_promotes_all_serve(cluster: Cluster) -> None:
    first, second, third = cluster.replicas
    before = await asked(first.rest, ITEMS)
    async with AsyncClient(first.rest) as one, AsyncClient(second.grpc) as two:
        registered = await one.register("reward", "v2")
        await two.promote("reward", registered.version, override_reason="to see who follows")
    after = [await served_by(replica.rest, registered.digest) for replica in cluster.replicas]
    assert after[0] == after[1] == after[2] != rewards(before)
    async with AsyncClient(third.rest) as three:
        await three.rollback("reward", "seen")
    for replica in cluster.replicas:
        assert await served_by(replica.rest, before.model.digest) == rewards(before)


async def served_by(url: str, digest: str) -> list[float]:
    """Rewards of `ITEMS` once that artifact answers."""
    async with asyncio.timeout(PATIENCE_S), AsyncClient(url) as client:
        while (result := await client.score(ITEMS)).model.digest != digest:
            await asyncio.sleep(0.05)
    return rewards(result)


async def test_a_killed_replica_loses_nothing_and_comes_back_to_what_the_others_serve(
    cluster: Cluster,
) -> None:
    victim, *others = cluster.replicas
    async with Proxy([replica.port for replica in cluster.replicas]).listening() as balancer:
        url = f"http://127.0.0.1:{balancer.port}"
        seen: dict[str, float] = {}
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as clients:
            for number in range(NUM_CLIENTS):
                clients.create_task(ask_on(url, number, seen))
            while len(seen) < NUM_BEFORE:
                await asyncio.sleep(0.005)
            victim.kill()
    assert len(seen) == NUM_BEFORE + NUM_AFTER
    items = [("why?", response) for response in seen]
    for other in others:
        assert rewards(await asked(other.rest, items)) == list(seen.values())
    await asyncio.to_thread(victim.start().until_ready)
    assert rewards(await asked(victim.rest, items)) == list(seen.values())


async def ask_on(url: str, number: int, seen: dict[str, float]) -> None:
    """One client of many: each of its requests must be answered, whoever dies."""
    async with AsyncClient(url) as client:
        for count in range((NUM_BEFORE + NUM_AFTER) // NUM_CLIENTS):
            response = f"client {number} says {count}"
            seen[response] = rewards(await client.score([("why?", response)]))[0]
