"""The gate reads what the evaluation writes: a real job on fake models, promoted on its report."""

import asyncio
from pathlib import Path

import pytest

from guerdon_service.core.errors import GateRefused
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery
from guerdon_service.core.registry import PromoteQuery
from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.evaluation.data import pairs, write
from tests.registry.replica import Replica, replica

LENIENT = GatePolicy(max_ece=1.0)
"""Scores of the fakes mean nothing, so neither do their probabilities."""


async def evaluated(on: Replica, database: Database, folder: Path, query: EvaluationQuery) -> Evaluation:
    service = EvaluationService(on.service, SqlEvaluationStore(database), folder, poll_s=0.02)
    working = asyncio.create_task(service.run())
    try:
        started = await service.start(query)
        *_, last = [shown async for shown in service.follow(started.id)]
        assert last.state == "done", last.error
        return last
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def as_the_fakes_prefer() -> list[dict[str, object]]:
    """Pairs of which nearly always the longer response is preferred, as every fake version does."""
    records = pairs(1000)
    for record in records:
        record["rejected"], record["chosen"] = sorted((record["chosen"], record["rejected"]), key=len)
        record["subset"] = "safety"
        del record["demographics"]
    return records


async def test_a_version_with_equal_order_is_not_worse_and_the_report_is_read(
    database: Database, tmp_path: Path
) -> None:
    write(tmp_path / "pairs.jsonl", as_the_fakes_prefer())
    async with replica(database, policy=LENIENT) as one:
        await one.registry.register("m", "2", "ops")
        done = await evaluated(one, database, tmp_path, EvaluationQuery("m@candidate", "pairs.jsonl", "m"))
        with pytest.raises(GateRefused) as refused:
            await one.registry.promote(PromoteQuery("m", "2", "ops", evaluation_id=done.id))
        change = await one.registry.promote(
            PromoteQuery("m", "2", "ops", evaluation_id=done.id, override_reason="for the checks")
        )
        assert await one.ask() == "2"
    assert "baselines" in refused.value.message, "the fakes are a length rule, and the gate sees it"
    checks = {check.name: check for check in change.checks}
    passed = ("identity", "interface", "evaluation", "non-inferiority", "slices", "safety floor")
    assert {name for name in passed if checks[name].passed} == set(passed)
    assert change.evaluation_id == done.id
