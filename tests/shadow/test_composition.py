"""The composed service: a newly registered version is the candidate and gets the traffic that it is given."""

from pathlib import Path

from guerdon_service.app.build import build, start
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import ModelSettings, Settings, ShadowSettings
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.query import Options, ScoreQuery
from tests.registry.test_model_store import artifact


async def test_a_registered_version_is_shadowed_and_answers_its_tenants(tmp_path: Path) -> None:
    settings = Settings(
        threads=1,
        models={"m": ModelSettings(source=str(artifact(tmp_path / "one", "1", seed=1)))},
        shadow=ShadowSettings(shadow_share=1.0, canary_tenants=frozenset({"brave"})),
    )
    observer = PrometheusObserver()
    domain = await build(settings, observer)
    try:
        await start(domain, settings)
        await domain.registry.register("m", str(artifact(tmp_path / "two", "2", seed=2)), "ops")
        items = (Conversation.of("Why?", "Because."),)
        replies = [
            await domain.services.scorer.score(ScoreQuery(items, Options(tenant=tenant)))
            for tenant in ("careful", "brave")
        ]
        await domain.shadowing.idle()
        assert [reply.model.version for reply in replies] == ["1", "2"]
        text = observer.render().decode()
        assert 'guerdon_trial{candidate="2",figure="items",model="m"} 1.0' in text
    finally:
        await domain.close()
