"""Advisories of other model servers, replayed here. docs/security.md has a row for each."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.app.auth import load_keys
from guerdon_service.app.loader import load_model
from guerdon_service.app.settings import Settings
from guerdon_service.cache.redis_cache import KEY_PREFIX
from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.auth import Scope
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import ScorerIdentity, fingerprint
from guerdon_service.core.ports import ForwardStats, NullObserver
from guerdon_service.registry.model_store import ModelStore
from guerdon_service.rest.table import TABLE
from tests.backends.artifacts import edit_config
from tests.backends.test_load import copy
from tests.contract.harness import KEYS, SCORER_KEY, Served, refusal, served
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest
from tests.redis_server import RedisServer, redis_server
from tests.rpc.raw import method
from tests.security.doors import BODY

__all__ = ["redis_server"]

REQUEST = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.proof,)


def test_the_pickle_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_cve_2026_22807_auto_map_runs_nothing_though_remote_code_is_asked_for(tmp_path: Path) -> None:
    """vLLM: modules that `auto_map` names ran even with ``trust_remote_code=False``."""
    folder, proof = copy("llama", tmp_path / "model"), tmp_path / "ran"
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(proof)!r}).touch()\n")
    edit_config(
        folder,
        auto_map={"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"},
        trust_remote_code=True,
    )
    model = load_model(ModelSpec("m", str(folder)), num_threads=1)
    model.backend.close()
    assert not proof.exists()


def test_cve_2025_25183_keys_do_not_collide_where_pythons_hash_does() -> None:
    """vLLM: cache keys by Python's ``hash``, whose collisions anyone can make, reused another's prefix."""

    def key(*ids: int) -> bytes:
        encoded = Encoded(np.array(ids, dtype=np.int32), 0, truncated=False)
        return fingerprint(ScorerIdentity("digest", "torch", "float32"), "tenant", encoded)

    assert hash((-1, 7)) == hash((-2, 7))
    assert key(-1, 7) != key(-2, 7)
    assert len(key(7)) == 32


async def test_cve_2024_50050_a_pickle_is_bytes_to_every_socket_and_to_the_cache(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Llama, "ShadowMQ" in vLLM, SGLang and others: what came over a socket was unpickled."""
    proof, payload = tmp_path / "ran", pickle.dumps(Evil(tmp_path / "ran"))
    async with served() as it:
        reply = await it.rest.post("/v1/score", content=payload, headers={"content-type": "application/json"})
        assert reply.status_code == 422
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await method(it.channel, "Score")(payload)
        assert err.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        for port in (it.port, it.grpc_port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(payload)
            await writer.drain()
            writer.close()
        assert (await it.rest.post("/v1/score", json=BODY)).status_code == 200
    key = b"k" * 32
    with redis_server.client() as client:
        client.set(KEY_PREFIX + key, payload)
    cache = open_cache(NullObserver(), redis_url=redis_server.url, timeout_s=10)
    assert await cache.get_many([key], 1) == [None]
    await cache.close()
    assert not proof.exists()


async def test_cve_2025_23319_errors_tell_nothing_of_the_inside() -> None:
    """Triton: an error's text named internal shared memory, which the next request could then use."""

    class Leaky(WeightedSumBackend):
        def forward(self, batch: object) -> tuple[object, ForwardStats]:  # type: ignore[override]
            raise RuntimeError("cannot map /dev/shm/guerdon_python_backend_4711")

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), Leaky())  # type: ignore[arg-type]

    async with served(load=load) as it:
        told = await it.rest.post("/v1/score", json=BODY)
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await it.stub.Score(REQUEST)
    assert (told.status_code, err.value.code()) == (500, grpc.StatusCode.INTERNAL)
    for text in (told.text, str(told.headers), refusal(err.value).message, str(err.value)):
        assert "shm" not in text
        assert "Traceback" not in text


async def test_cve_2025_33201_an_oversize_payload_is_refused_and_the_service_goes_on() -> None:
    """Triton: a payload over its size crashed the server."""
    async with served() as it:
        huge = b'{"items": [' + b" " * (9 * 1024 * 1024)
        reply = await it.rest.post("/v1/score", content=huge, headers={"content-type": "application/json"})
        assert reply.status_code == 413
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await method(it.channel, "Score")(huge)
        assert err.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await it.rest.post("/v1/score", json=BODY)).status_code == 200
        assert len((await it.stub.Score(REQUEST)).scores) == 1


@dataclass
class Bait:
    """A server that counts who comes."""

    port: int = 0
    num_visits: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/latest/meta-data"


@asynccontextmanager
async def bait() -> AsyncIterator[Bait]:
    it = Bait()

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it.num_visits += 1
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as server:
        it.port = server.sockets[0].getsockname()[1]
        yield it


async def test_cve_2023_43654_no_model_comes_from_a_callers_url(tmp_path: Path) -> None:
    """TorchServe, "ShellTorch": an open management API loaded code from any URL."""
    async with bait() as visits, served(keys=KEYS) as it:
        for store, sources in (
            (ModelStore(None), (visits.url, f"s3://{visits.port}/x", f"simplecache::{visits.url}")),
            (ModelStore(tmp_path), ("../../etc", "/etc", "file:///etc", f"simplecache::{visits.url}")),
        ):
            for source in sources:
                with pytest.raises(InvalidInput):
                    store.admit(source)
        for path in ("/v1/models", "/v1/models/m/versions"):
            reply = await it.rest.post(
                path,
                json={"name": "m", "source": visits.url},
                headers={"authorization": f"Bearer {SCORER_KEY}"},
            )
            assert reply.status_code == 403
        assert visits.num_visits == 0


async def test_cve_2023_48022_nothing_that_works_or_changes_is_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ray, "ShadowRay": whoever reached the job API could run jobs."""
    assert Settings().host == "127.0.0.1"
    assert load_keys(Settings()) == ()
    assert not caplog.records
    load_keys(Settings(host="0.0.0.0"))
    assert "whoever reaches 0.0.0.0 may do everything" in caplog.text
    assert [row.path for row in TABLE if row.is_open] == ["/health/live", "/health/ready"]
    async with served(keys=KEYS) as it:
        for row in TABLE:
            if row.is_open:
                continue
            path = row.path.replace("{name}", "m").replace("{id}", "e")
            headers = {"content-type": "application/json"}
            reply = await it.rest.request(row.method, path, content=b"{}", headers=headers)
            assert reply.status_code == 401, row.path
            if row.scope is Scope.ADMIN:
                headers["authorization"] = f"Bearer {SCORER_KEY}"
                reply = await it.rest.request(row.method, path, content=b"{}", headers=headers)
                assert reply.status_code == 403, row.path


async def test_cve_2026_33626_a_url_in_a_conversation_is_text() -> None:
    """LMDeploy: an image's URL in a prompt was fetched, from inside the network."""
    async with bait() as visits, served() as it:
        text = f"look at ![]({visits.url}) <img src='{visits.url}'>"
        assert (await _score(it, [{"prompt": text, "response": "ok"}])).status_code == 200
        parts = [{"type": "image_url", "image_url": {"url": visits.url}}]
        messages = [{"role": "user", "content": parts}]
        assert (await _score(it, [{"messages": messages, "response": "ok"}])).status_code == 422
        assert visits.num_visits == 0


async def _score(it: Served, items: list[Any]) -> httpx.Response:
    content = json.dumps({"items": items}).encode()
    return await it.rest.post("/v1/score", content=content, headers={"content-type": "application/json"})
