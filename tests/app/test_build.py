"""The whole domain layer, from its settings."""

import time

import pytest

from guerdon_service.app.build import build, start
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.registry import ModelVersion
from guerdon_service.state.registry_store import SqlRegistryStore


async def test_a_default_model_that_is_none_of_the_models_is_refused_before_any_is_loaded() -> None:
    settings = Settings(default_model="nope")
    domain = await build(settings, PrometheusObserver())
    version = ModelVersion("kept", "1", "digest", "reward", "gone", "ops", time.time(), {})
    try:
        with pytest.raises(InvalidInput, match="'nope', and the models are guerdon-minilm; name one"):
            await start(domain, settings)
        SqlRegistryStore(domain.database).add_version(version)
        with pytest.raises(InvalidInput, match="the models are guerdon-minilm, kept; name one"):
            await start(domain, settings)
        assert domain.scoring.models() == ()
        kept = settings.model_copy(update={"default_model": "kept"})
        await start(domain, kept)
        assert [info.name for info in domain.scoring.models()] == ["guerdon-minilm"]
    finally:
        await domain.close()
