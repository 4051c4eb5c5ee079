"""Administrators' routes and methods on ports of their own: not there on the others, whatever the key."""

import grpc
import grpc.aio
import httpx
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.core.auth import Scope
from guerdon_service.rest.table import PUBLIC, TABLE
from tests.contract.harness import ADMIN_KEY, SCORER_KEY
from tests.security.doors import BODY, opened

ADMIN_ROWS = [row for row in TABLE if row.scope is Scope.ADMIN]
ADMIN_METHODS = (
    ("RegisterModel", pb.RegisterModelRequest(name="m", source="good")),
    ("PromoteModel", pb.PromoteModelRequest(name="m", version="1", override_reason="r")),
    ("RollbackModel", pb.RollbackModelRequest(name="m", reason="r")),
    ("PromoteModel", pb.PromoteModelRequest(name="m", version="1", alias="next", override_reason="r")),
    ("RemoveAlias", pb.RemoveAliasRequest(name="m", alias="next", reason="r")),
)


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


def test_the_rows_are_those_that_ask_for_the_scope() -> None:
    assert len(ADMIN_ROWS) >= 5
    assert list(PUBLIC) == [row for row in TABLE if row not in ADMIN_ROWS]


async def test_rest_has_them_on_the_admin_port_alone() -> None:
    async with opened(locked=True, admin_port=0) as at:
        assert at.admin_port not in (None, at.port)
        async with httpx.AsyncClient(trust_env=False) as rest:
            for row in ADMIN_ROWS:
                path = row.path.replace("{name}", "nobody")
                for key in (ADMIN_KEY, SCORER_KEY):
                    reply = await rest.request(
                        row.method, f"http://127.0.0.1:{at.port}{path}", content=b"{}", headers=headers(key)
                    )
                    assert reply.status_code in (404, 405), row.path
                    assert reply.json()["error"]["code"] in ("not_found", "method_not_allowed")
                reply = await rest.request(
                    row.method,
                    f"http://127.0.0.1:{at.admin_port}{path}",
                    content=b"{}",
                    headers=headers(SCORER_KEY),
                )
                assert reply.status_code == 403, row.path
            model = {"name": "second", "source": "good"}
            loaded = await rest.post(
                f"http://127.0.0.1:{at.admin_port}/v1/models", json=model, headers=headers(ADMIN_KEY)
            )
            assert loaded.status_code == 201
            scored = await rest.post(
                f"http://127.0.0.1:{at.port}/v1/score",
                json=BODY | {"model": "second"},
                headers=headers(SCORER_KEY),
            )
            assert scored.status_code == 200, "one domain layer behind both"
            public = await rest.get(f"http://127.0.0.1:{at.port}/openapi.json", headers=headers(SCORER_KEY))
            assert "/v1/models/{name}/promote" not in public.json()["paths"]


async def test_grpc_has_them_on_the_admin_port_alone() -> None:
    metadata = (("authorization", f"Bearer {ADMIN_KEY}"),)
    async with opened(locked=True, admin_grpc_port=0) as at:
        for port, is_admin in ((at.grpc_port, False), (at.admin_grpc_port, True)):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = RewardServiceStub(channel)
                for name, request in ADMIN_METHODS:
                    if is_admin:
                        assert (await getattr(stub, name)(request, metadata=metadata)).name == "m"
                        continue
                    with pytest.raises(grpc.aio.AioRpcError) as err:
                        await getattr(stub, name)(request, metadata=metadata)
                    assert err.value.code() == grpc.StatusCode.UNIMPLEMENTED
                if is_admin:
                    assert len((await stub.ListModels(pb.ListModelsRequest(), metadata=metadata)).models) == 1


async def test_without_ports_of_their_own_they_are_where_everything_is() -> None:
    async with opened(locked=True) as at, httpx.AsyncClient(trust_env=False) as rest:
        assert (at.admin_port, at.admin_grpc_port) == (None, None)
        model = {"name": "second", "source": "good"}
        url = f"http://127.0.0.1:{at.port}/v1/models"
        assert (await rest.post(url, json=model, headers=headers(ADMIN_KEY))).status_code == 201
