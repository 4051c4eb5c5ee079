"""What administrators do, or try, is written down before they are answered; over both transports alike."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.app.audit_trail import AuditTrail
from guerdon_service.app.logs import JsonFormatter, configure_logging
from guerdon_service.core.audit import AdminAct, RecordedAct, told
from guerdon_service.state.audit_store import SqlAuditStore
from guerdon_service.state.database import Database, open_database
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, Served, served
from tests.state.conftest import KINDS, database, postgres_server, url

__all__ = ["KINDS", "database", "postgres_server", "url"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Served]:
    async with served(keys=KEYS) as it:
        yield it


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def rest(at: Served, method: str, path: str, body: Any = None, key: str = ADMIN_KEY) -> int:
    headers = bearer(key) | {"x-request-id": "r1"}
    return (await at.rest.request(method, path, json=body, headers=headers)).status_code


async def rpc(at: Served, name: str, request: Any, key: str = ADMIN_KEY) -> None:
    metadata = (("authorization", f"Bearer {key}"), ("x-request-id", "r1"))
    with suppress(grpc.aio.AioRpcError):
        await getattr(at.stub, name)(request, metadata=metadata)


async def acts(at: Served, limit: int | None = None) -> list[dict[str, Any]]:
    query = "" if limit is None else f"?limit={limit}"
    reply = await at.rest.get(f"/v1/audit{query}", headers=bearer(ADMIN_KEY))
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["acts"]
    return found


ACTS: list[tuple[str, Any, str, Any, str, str]] = [
    # REST path, body, gRPC method, message, key, outcome
    (
        "/v1/models/q/versions",
        {"source": "good"},
        "RegisterModel",
        pb.RegisterModelRequest(name="q", source="good"),
        ADMIN_KEY,
        "ok",
    ),
    (
        "/v1/models/q/versions",
        {"source": "bad"},
        "RegisterModel",
        pb.RegisterModelRequest(name="q", source="bad"),
        ADMIN_KEY,
        "invalid_input",
    ),
    (
        "/v1/models/q/promote",
        {"version": "1"},
        "PromoteModel",
        pb.PromoteModelRequest(name="q", version="1"),
        ADMIN_KEY,
        "gate_refused",
    ),
    (
        "/v1/models/q/promote",
        {"version": "1", "override_reason": "fire"},
        "PromoteModel",
        pb.PromoteModelRequest(name="q", version="1", override_reason="fire"),
        ADMIN_KEY,
        "ok",
    ),
    (
        "/v1/models/q/rollback",
        {"reason": "worse"},
        "RollbackModel",
        pb.RollbackModelRequest(name="q", reason="worse"),
        ADMIN_KEY,
        "ok",
    ),
    (
        "/v1/models/q/remove-alias",
        {"alias": "champion", "reason": "worse"},
        "RemoveAlias",
        pb.RemoveAliasRequest(name="q", alias="champion", reason="worse"),
        ADMIN_KEY,
        "invalid_input",
    ),
]


@pytest.mark.parametrize("case", ACTS, ids=lambda case: f"{case[2]} {case[5]}")
async def test_both_transports_write_the_same(running: Served, case: Any) -> None:
    path, body, method, message, key, outcome = case
    await rest(running, "POST", "/v1/models/q/versions", {"source": "first"})  # something to roll back to
    await rest(running, "POST", path, body, key)
    await rpc(running, method, message, key)
    by_rpc, by_rest = (await acts(running))[:2]
    assert by_rpc["outcome"] == by_rest["outcome"] == outcome
    assert (by_rest["by"], by_rest["request_id"], by_rest["transport"]) == ("ops", "r1", "rest")
    assert by_rest["detail"] == {"name": "q"} | body
    assert by_rest | {"at": 0, "transport": "grpc"} == by_rpc | {"at": 0}
    assert by_rpc["at"] >= by_rest["at"] > 1e9


async def test_who_may_not_is_written_down_too(running: Served) -> None:
    await rest(running, "POST", "/v1/models/q/promote", {"version": "1"}, SCORER_KEY)
    await rpc(running, "PromoteModel", pb.PromoteModelRequest(name="q", version="1"), SCORER_KEY)
    assert [(act["by"], act["act"], act["outcome"]) for act in (await acts(running))[:2]] == [
        ("team", "promote_model", "permission_denied")
    ] * 2


async def test_unloading_is_an_act_and_looking_is_none(running: Served) -> None:
    await rest(running, "POST", "/v1/models", {"name": "gone", "source": "good"})
    await rest(running, "DELETE", "/v1/models/gone")
    before = await acts(running, 1000)
    assert [act["act"] for act in before[:2]] == ["unload_model", "load_model"]
    await rest(running, "GET", "/v1/models/q/versions")
    assert await acts(running, 1000) == before


async def test_only_an_admin_reads_it_and_nobody_changes_it(running: Served) -> None:
    assert await rest(running, "GET", "/v1/audit", key=SCORER_KEY) == 403
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert await rest(running, method, "/v1/audit") == 405
    assert await rest(running, "GET", "/v1/audit?limit=2") == 422


def act(**changes: Any) -> AdminAct:
    return replace(AdminAct("ops", "promote_model", "ok", "rest", "r", {"name": "q \0 \ud800"}), **changes)


async def test_rows_come_back_newest_first_from_every_database(database: Database) -> None:
    store = SqlAuditStore(database)
    given = [RecordedAct(1234.5 + i, act(request_id=str(i))) for i in range(5)]
    for each in given:
        store.add(each)
    assert store.newest(3) == tuple(reversed(given[2:]))


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    kept: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    logger, handler = logging.getLogger("guerdon.audit"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_while_the_database_is_away_the_log_line_has_it(lines: list[logging.LogRecord]) -> None:
    database = open_database("sqlite://")
    trail = AuditTrail(SqlAuditStore(database), clock=lambda: 1.0)
    await trail.record(act())
    assert (await trail.acts(10))[0] == RecordedAct(1.0, act())
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE audit_log")
    await trail.record(act())
    told_as = [json.loads(JsonFormatter().format(line)) for line in lines]
    assert [line["level"] for line in told_as] == ["INFO", "INFO", "ERROR"]
    assert all((line["by"], line["outcome"]) == ("ops", "ok") for line in told_as)
    database.close()


async def test_a_log_that_hears_of_errors_alone_has_it_too() -> None:
    stream, database = io.StringIO(), open_database("sqlite://")
    configure_logging("ERROR", stream=stream)
    await AuditTrail(SqlAuditStore(database)).record(act())
    assert json.loads(stream.getvalue())["logger"] == "guerdon.audit"
    database.close()


async def test_what_a_url_hides_is_not_written_down() -> None:
    said = told({"source": "s3://AKIA:hunter2@bucket/a?X-Signature=hunter2", "n": 3, "long": "x" * 9999})
    assert "hunter2" not in str(said)
    assert said["source"] == "s3://...@bucket/a?..."
    assert said["n"] == "3"
    assert len(said["long"]) < 600
