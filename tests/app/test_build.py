"""The whole domain layer, from its settings."""

import time
from pathlib import Path

import pytest

from guerdon_service.app.build import build, start
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.artifacts.resolve import DEFAULT_MODEL
from guerdon_service.core.errors import InvalidInput, UnknownModel
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


async def test_with_a_state_database_the_default_model_may_be_registered_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(default_model="prod", state_url=f"sqlite:///{tmp_path / 'state.db'}")
    domain = await build(settings, PrometheusObserver())
    try:
        await start(domain, settings)
        assert "default_model is 'prod', and the models are guerdon-minilm; register it" in caplog.text
        with pytest.raises(UnknownModel, match="'prod' is not loaded"):
            domain.scoring.catalog.resolve(None)
        await domain.registry.register("prod", str(DEFAULT_MODEL), "ops")
        assert domain.scoring.catalog.resolve(None).spec.name == "prod"
    finally:
        await domain.close()
