"""What loading leaves behind when it goes wrong."""

import pytest

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import BackendFailed
from guerdon_service.core.query import Options, ScoreQuery
from tests.fakes import CodePointEncoder, WeightedSumBackend, load_fake, manifest, running_service


async def test_a_model_whose_loading_breaks_down_is_failed_and_not_loading_for_ever() -> None:
    def break_down(spec: ModelSpec) -> LoadedModel:
        if spec.source == "broken":
            raise RuntimeError("a bug of ours, or of a library")
        return load_fake(spec)

    async with running_service(load=break_down) as service:
        with pytest.raises(RuntimeError):
            await service.load_model(ModelSpec("new", "broken"))
        assert service.model("new").state == "failed"
        await service.load_model(ModelSpec("new", "good"))
        assert service.is_ready()


async def test_loading_a_dead_version_again_frees_the_dead_one() -> None:
    backends: list[WeightedSumBackend] = []

    def die() -> None:
        if len(backends) == 1:
            raise SystemExit

    def load(spec: ModelSpec) -> LoadedModel:
        backends.append(WeightedSumBackend(before=die))
        made = manifest("m", version="1", digest="d")
        return LoadedModel(spec, made, CodePointEncoder(), backends[-1])

    async with running_service(ModelSpec("m", "1"), load=load) as service:
        query = ScoreQuery((Conversation.of("why?", "because"),), Options())
        with pytest.raises(BackendFailed):
            await service.score(query)
        await service.catalog.load_version(ModelSpec("m", "1"), "1", "d")
        assert [backend.closed for backend in backends] == [True, False]
        assert (await service.score(query)).scores
