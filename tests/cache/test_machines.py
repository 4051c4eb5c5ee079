"""Replicas on machines of several kinds with one Redis."""

from dataclasses import replace

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import ScoreQuery
from tests.fakes import WeightedSumBackend, load_fake, running_service
from tests.redis_server import RedisServer


class Placed(WeightedSumBackend):
    """A back end that tells what computes its scores."""

    def __init__(self, arithmetic: str) -> None:
        super().__init__()
        self.arithmetic = arithmetic


async def test_replicas_that_compute_with_something_else_share_no_scores(redis_server: RedisServer) -> None:
    cached = []
    for arithmetic in ("AVX2", "AVX512", "AVX2"):

        def load(spec: ModelSpec, arithmetic: str = arithmetic) -> LoadedModel:
            return replace(load_fake(spec), backend=Placed(arithmetic))

        cache = open_cache(NullObserver(), redis_url=redis_server.url, l1_bytes=0)
        async with running_service(load=load, cache=cache) as service:
            score = (await service.score(ScoreQuery((Conversation.of("why?", "because"),)))).scores[0]
            cached.append(score.cached)
    assert cached == [False, False, True]
