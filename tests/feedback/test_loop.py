"""The loop closed: a composed service logs best-of-n, and its log becomes training data and questions."""

import json
from pathlib import Path

from guerdon_service.app.build import build
from guerdon_service.app.export_feedback import export_feedback_command
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.app.suggest_labels import suggest_labels_command
from guerdon_service.core.best_of_n import BestOfNResult
from guerdon_training.data import read_pairs
from guerdon_training.policy.demonstrations import read_demonstrations
from tests.bestofn.fakes import PROMPT, listed, query
from tests.threads import one_thread
from tests.tiny import build_tiny

__all__ = ["one_thread"]


async def answered(folder: Path, url: str) -> BestOfNResult:
    """Best of three under a tiny model, from a service that logs."""
    build_tiny("bert", folder / "model", seed=0)
    models = {"tiny": ModelSettings(source=str(folder / "model"))}
    settings = Settings(models=models, state_url=url, log_candidates=True, threads=1)
    domain = await build(settings, PrometheusObserver())
    try:
        domain.best_of_n.add(listed("a brick", "two bricks", "a wall"))
        await domain.registry.adopt(settings.specs[0])
        return await domain.services.best_of_n.run(query(3))
    finally:
        await domain.close()


async def test_what_a_service_logs_trains_the_next_models(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    result = await answered(tmp_path, url)
    out = {kind: tmp_path / f"{kind}.jsonl" for kind in ("kwise", "sft", "tasks")}
    for kind in ("kwise", "sft"):
        argv = ["--kind", kind, "--state-url", url, "--output", str(out[kind]), "--tenant", "anonymous"]
        assert export_feedback_command(argv) == 0
    rewards = {c.generated.text: c.score.reward for c in result.candidates}
    pairs = read_pairs(out["kwise"], ties=True)
    assert len(pairs) == 3
    assert all(rewards[p.chosen] > rewards[p.rejected] for p in pairs)
    (demonstration,) = read_demonstrations(out["sft"])
    assert (demonstration.prompt, demonstration.response) == (PROMPT, max(rewards, key=rewards.__getitem__))
    assert suggest_labels_command(["--state-url", url, "--output", str(out["tasks"])]) == 0
    (task,) = [json.loads(line) for line in out["tasks"].read_text("utf-8").splitlines()]
    closest = min(pairs, key=lambda p: rewards[p.chosen] - rewards[p.rejected])
    assert set(task["shown"]) == {closest.chosen, closest.rejected}
    assert task["model"] == f"tiny@{result.model.version}"
