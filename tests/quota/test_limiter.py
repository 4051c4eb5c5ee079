"""API keys are held to their limits: over both transports, by all replicas together, without Redis too."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio
import httpx
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.app.inflight import InFlight
from guerdon_service.app.listen import listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.app.tracked import tracked
from guerdon_service.cache.breaker import Breaker
from guerdon_service.core.auth import Keyring
from guerdon_service.core.call import Call
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput, Overloaded, RateLimited
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.rate import Bucket, KeyLimits
from guerdon_service.core.result import ScoreResult
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.quota.limiter import Limiter, open_limiter
from guerdon_service.quota.local_buckets import LocalBuckets
from guerdon_service.quota.redis_buckets import RedisBuckets
from tests.contract.harness import ADMIN_KEY, KEYS, RIVAL_KEY, SCORER_KEY, refusal
from tests.domain_fakes import services_of
from tests.fakes import running_service
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]

BODY = {"items": [{"prompt": "p" * 30, "response": "r" * 10}]}
"""40 tokens of the fake model's; 10 by the estimate."""


@dataclass
class Replica:
    limiter: Limiter
    rest: httpx.AsyncClient
    stub: Any

    async def score(self, key: str = SCORER_KEY, body: dict[str, Any] = BODY) -> httpx.Response:
        reply = await self.rest.post("/v1/score", json=body, headers={"authorization": f"Bearer {key}"})
        await self.limiter.settled()
        return reply

    async def score_rpc(self, key: str = SCORER_KEY) -> Any:
        return await self.stub.Score(
            pb.ScoreRequest(items=[pb.ScoreItem(prompt="p" * 30, response="r" * 10)]),
            metadata=(("authorization", f"Bearer {key}"),),
        )


@asynccontextmanager
async def replica(limiter: Limiter, calls: InFlight | None = None) -> AsyncIterator[Replica]:
    settings, auth = Settings(port=0, grpc_port=0), Keyring(KEYS)
    async with (
        running_service() as service,
        listening(
            tracked(services_of(service), calls or InFlight(), limiter),
            settings,
            auth=auth,
            observer=PrometheusObserver(),
        ) as at,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{at.port}", trust_env=False) as rest,
        grpc.aio.insecure_channel(f"127.0.0.1:{at.grpc_port}") as channel,
    ):
        try:
            yield Replica(limiter, rest, RewardServiceStub(channel))
        finally:
            await limiter.close()


def limits(**given: float) -> dict[str, KeyLimits]:
    return {"team": KeyLimits(**given)}


async def test_requests_over_the_rate_are_refused_over_both_transports_and_told_when_to_come_back() -> None:
    clock = 1000.0
    limiter = Limiter(limits(requests_per_minute=2), local=LocalBuckets(lambda: clock))
    async with replica(limiter) as it:
        assert (await it.score()).status_code == 200
        await it.score_rpc()
        refused = await it.score()
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "30"
        assert refused.json()["error"]["code"] == "rate_limited"
        assert refused.json()["error"]["retry_after_ms"] == 30_000
        assert "requests_per_minute of 2" in refused.json()["error"]["message"]
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await it.score_rpc()
        assert err.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers: Any = err.value.trailing_metadata()
        assert dict(iter(trailers))["grpc-retry-pushback-ms"] == "30000"
        assert refusal(err.value).code == "rate_limited"
        assert (await it.score(RIVAL_KEY)).status_code == 200, "another key has limits of its own"
        clock += 30
        assert (await it.score()).status_code == 200


async def test_tokens_are_settled_by_what_was_scored() -> None:
    clock = 0.0
    limiter = Limiter(limits(tokens_per_minute=60), local=LocalBuckets(lambda: clock))
    async with replica(limiter) as it:
        assert (await it.score()).status_code == 200  # estimated 10, scored 40
        assert (await it.score()).status_code == 200  # 20 are left for an estimate of 10
        refused = await it.score()
        assert refused.json()["error"]["retry_after_ms"] == 30_000  # 80 used: 20 in debt, 10 asked for


async def test_what_is_refused_costs_no_token_and_what_is_abandoned_costs_its_estimate() -> None:
    limiter = Limiter(limits(tokens_per_minute=100), local=LocalBuckets(lambda: 0.0))
    for _ in range(5):
        with pytest.raises(InvalidInput):
            async with limiter.charged("team", 90):
                raise InvalidInput("wrong", param="items")
        await limiter.settled()
    with pytest.raises(asyncio.CancelledError):
        async with limiter.charged("team", 90):
            raise asyncio.CancelledError
    await limiter.settled()
    with pytest.raises(RateLimited, match="tokens_per_minute of 100"):
        async with limiter.charged("team", 90):
            raise AssertionError("let in")


async def test_a_request_that_a_full_queue_holds_is_charged_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks a full queue again pays again; who is held asks once, however often the queue is tried."""
    limiter = Limiter(limits(requests_per_minute=2), local=LocalBuckets(lambda: 0.0))
    item, asked = Conversation.of("p", "r"), list[ScoreQuery]()
    async with running_service() as service:
        answer = service.score

        async def full_at_first(query: ScoreQuery) -> ScoreResult:
            asked.append(query)
            if len(asked) < 4:
                raise Overloaded("the queue is full; retry later", retry_after_ms=0)
            return await answer(query)

        monkeypatch.setattr(service, "score", full_at_first)
        scorer = tracked(services_of(service), InFlight(), limiter).scorer
        patient = PatientScorer(scorer, Limits(default_deadline_s=5), Call("team", "r"))
        assert len((await patient.score([item], None)).scores) == 1
        assert len(asked) == 4
        asked.clear()
        with pytest.raises(Overloaded, match="queue is full"):
            await scorer.score(ScoreQuery((item,), Options(tenant="team")))
        with pytest.raises(RateLimited):
            await scorer.score(ScoreQuery((item,), Options(tenant="team")))
    await limiter.close()


async def test_what_a_spent_key_and_a_draining_service_answer_is_documented() -> None:
    limiter, calls = Limiter(limits(requests_per_minute=1), local=LocalBuckets(lambda: 0.0)), InFlight()
    async with replica(limiter, calls) as it:
        team, ops = ({"authorization": f"Bearer {key}"} for key in (SCORER_KEY, ADMIN_KEY))
        paths = (await it.rest.get("/openapi.json", headers=ops)).json()["paths"]
        await it.score()
        judged = {"prompt": "p", "chosen": "a", "rejected": "b"}
        asked = {"/v1/evaluations": {"candidate": "fake", "dataset": "d.jsonl"}, "/v1/feedback": judged}
        refused = [await it.rest.post(path, json=body, headers=team) for path, body in asked.items()]
        calls.begin_drain()
        added = {"name": "d.jsonl", "records": [{}]}
        refused.append(await it.rest.post("/v1/datasets", json=added, headers=ops))
    assert [reply.status_code for reply in refused] == [429, 429, 503]
    for reply in refused:
        assert str(reply.status_code) in paths[reply.request.url.path]["post"]["responses"]


async def test_a_request_over_the_whole_limit_is_served_by_a_full_bucket_and_paid_for_later() -> None:
    clock = 0.0
    limiter = Limiter(limits(tokens_per_minute=60), local=LocalBuckets(lambda: clock))
    async with limiter.charged("team", 180):
        pass
    with pytest.raises(RateLimited) as refused:
        async with limiter.charged("team", 1):
            raise AssertionError("let in")
    assert refused.value.retry_after_ms == 121_000
    assert isinstance(refused.value, Overloaded), "whoever waits for room waits for this"


async def test_replicas_share_what_a_key_may_use(redis_server: RedisServer) -> None:
    def limiter() -> Limiter:
        return Limiter(limits(requests_per_minute=6), RedisBuckets(redis_server.url, Breaker(), timeout_s=10))

    async with replica(limiter()) as one, replica(limiter()) as two:
        replies = [await it.score() for it in (one, two) * 5]
        assert [reply.status_code for reply in replies] == [200] * 6 + [429] * 4
        assert 1 <= int(replies[-1].headers["retry-after"]) <= 10


async def test_a_burst_of_calls_at_once_cannot_pass_the_shared_limit(redis_server: RedisServer) -> None:
    limiter = Limiter(limits(requests_per_minute=20), RedisBuckets(redis_server.url, Breaker(), timeout_s=10))

    async def ask() -> bool:
        try:
            async with limiter.charged("team"):
                return True
        except RateLimited:
            return False

    assert sum(await asyncio.gather(*(ask() for _ in range(200)))) == 20
    await limiter.close()


async def test_while_redis_is_away_each_replica_counts_for_itself_from_what_it_last_knew(
    redis_server: RedisServer,
) -> None:
    shared = RedisBuckets(redis_server.url, Breaker(max_failures=1, backoff_s=3600), timeout_s=5)
    limiter = Limiter(limits(requests_per_minute=4), shared)
    async with replica(limiter) as it:
        assert [(await it.score()).status_code for _ in range(3)] == [200] * 3
        redis_server.kill()
        assert [(await it.score()).status_code for _ in range(3)] == [200, 429, 429]
        assert limiter.is_alone


async def test_a_key_of_the_wrong_type_in_redis_fails_no_request(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("guerdon:limit:1:team", "not a hash")
    limiter = Limiter(limits(requests_per_minute=1), RedisBuckets(redis_server.url, Breaker(), timeout_s=10))
    async with replica(limiter) as it:
        assert [(await it.score()).status_code for _ in range(2)] == [200, 429]


async def test_redis_is_asked_only_where_a_key_has_limits() -> None:
    nowhere = open_limiter({"team": KeyLimits()}, "redis://127.0.0.1:1/0")
    async with nowhere.charged("team", 10**9):
        assert not nowhere.is_alone
    await nowhere.close()
    with pytest.raises(InvalidInput, match="redis_url"):
        open_limiter(limits(requests_per_minute=1), "http://no-redis")


async def test_a_loop_that_stands_still_does_not_count_for_itself(redis_server: RedisServer) -> None:
    shared = RedisBuckets(redis_server.url, Breaker(max_failures=1, backoff_s=3600), timeout_s=1.0)
    bucket = Bucket("requests", "requests", capacity=10_000, period_s=60)
    for turns in (0, 1, 2, 4, 8):
        # more callers than connections
        asked = [asyncio.create_task(shared.take("t", [bucket], [1.0], force=False)) for _ in range(40)]
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(1.2)  # noqa: ASYNC251 the loop's own work, longer than the deadline
        assert None not in await asyncio.gather(*asked), turns
    await shared.close()
