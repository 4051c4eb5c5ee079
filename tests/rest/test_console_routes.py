"""Routes that a page for people needs: names of policies, agreement, and data sets that are sent along."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.contract.harness import ADMIN_KEY, KEYS, RIVAL_KEY, SCORER_KEY, Served, served
from tests.fakes import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFERENCE = {"prompt": "p", "chosen": "a", "rejected": "b"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked() -> AsyncIterator[Served]:
    async with served(keys=KEYS) as it:
        yield it


async def test_policies_are_named(locked: Served) -> None:
    reply = await locked.rest.get("/v1/policies", headers=bearer(SCORER_KEY))
    assert reply.json() == {"policies": ["echo", "smollm2"]}


async def test_agreement_is_of_the_callers_own_judgements_and_an_admins_of_all(locked: Served) -> None:
    async def judge(key: str, annotator: str, **changes: Any) -> None:
        body = {**PREFERENCE, "annotator": annotator, **changes}
        assert (await locked.rest.post("/v1/feedback", json=body, headers=bearer(key))).status_code == 201

    async def agreement(key: str) -> dict[str, Any]:
        found: dict[str, Any] = (await locked.rest.get("/v1/feedback/agreement", headers=bearer(key))).json()
        return found

    assert await agreement(SCORER_KEY) == {
        "num_questions": 0,
        "alpha": None,
        "accuracy": {},
        "num_judgements": {},
    }
    for question in ("one", "two", "three"):
        await judge(SCORER_KEY, "ann", prompt=question)
        await judge(SCORER_KEY, "ben", prompt=question)
    await judge(SCORER_KEY, "ann", prompt="four", chosen="b", rejected="a")
    await judge(RIVAL_KEY, "cem", prompt="four", chosen="b", rejected="a")
    own, rival, everyone = [await agreement(key) for key in (SCORER_KEY, RIVAL_KEY, ADMIN_KEY)]
    assert (own["num_questions"], own["num_judgements"]) == (3, {"ann": 3, "ben": 3})
    assert rival["num_questions"] == 0
    assert (everyone["num_questions"], set(everyone["accuracy"])) == (4, {"ann", "ben", "cem"})
    assert everyone["alpha"]["value"] == 1.0


async def test_a_data_set_is_kept_for_evaluations_by_an_admin(tmp_path: Path) -> None:
    database = open_database("sqlite://")
    async with running_service() as scoring:
        evaluator = EvaluationService(scoring, SqlEvaluationStore(database), tmp_path)
        async with served(keys=KEYS, evaluator=evaluator) as it:
            body = {"name": "mine.jsonl", "records": [PREFERENCE]}
            refused = await it.rest.post("/v1/datasets", json=body, headers=bearer(SCORER_KEY))
            assert refused.status_code == 403
            kept = await it.rest.post("/v1/datasets", json=body, headers=bearer(ADMIN_KEY))
            assert (kept.status_code, kept.json()["num_items"]) == (201, 1)
            asked = {"candidate": "fake", "dataset": "mine.jsonl"}
            started = await it.rest.post("/v1/evaluations", json=asked, headers=bearer(SCORER_KEY))
            assert started.json()["dataset_sha256"] == kept.json()["sha256"]
    database.close()


async def test_the_audit_log_names_the_data_set_and_does_not_hold_it(locked: Served) -> None:
    body = {"name": "secret.jsonl", "records": [{**PREFERENCE, "prompt": "what nobody else may read"}]}
    assert (await locked.rest.post("/v1/datasets", json=body, headers=bearer(ADMIN_KEY))).status_code == 201
    log = (await locked.rest.get("/v1/audit", headers=bearer(ADMIN_KEY))).text
    assert "secret.jsonl" in log
    assert "what nobody else may read" not in log
