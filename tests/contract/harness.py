"""The service on real sockets, and the same call over each way in, as plain values."""

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import grpc.aio
import httpx
from google.protobuf.json_format import MessageToDict

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.app.listen import listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.auth import ApiKey, Keyring, Scope
from guerdon_service.core.call import Call, wire_text
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import Cache
from guerdon_service.core.services import Services
from guerdon_service.rest.decode import decode_compare, decode_rank, decode_score
from guerdon_service.rest.render import render_compare, render_rank, render_score
from guerdon_service.scoring.service import ScoringService
from tests.domain_fakes import services_of
from tests.fakes import CodePointEncoder, WeightedSumBackend, load_fake, manifest, running_service

Body = dict[str, Any]

SCORER_KEY, RIVAL_KEY, ADMIN_KEY = "secret-of-the-team", "secret-of-the-rival", "secret-of-ops"
KEYS = tuple(
    ApiKey(name, hashlib.sha256(secret.encode()).hexdigest(), frozenset({scope}))
    for name, secret, scope in (
        ("team", SCORER_KEY, Scope.SCORE),
        ("rival", RIVAL_KEY, Scope.SCORE),
        ("ops", ADMIN_KEY, Scope.ADMIN),
    )
)
"""Keys of a service that is not open."""


@dataclass(frozen=True)
class Served:
    """A service that listens, a REST client and a gRPC channel to it."""

    service: ScoringService
    services: Services
    observer: PrometheusObserver
    rest: httpx.AsyncClient
    channel: grpc.aio.Channel
    port: int
    grpc_port: int

    @property
    def stub(self) -> Any:
        return RewardServiceStub(self.channel)


@asynccontextmanager
async def served(
    *specs: ModelSpec,
    keys: tuple[ApiKey, ...] = (),
    limits: Limits | None = None,
    load: Callable[[ModelSpec], LoadedModel] = load_fake,
    observer: PrometheusObserver | None = None,
    dialects: Sequence[str] = (),
    cache: Cache | None = None,
    **given: object,
) -> AsyncIterator[Served]:
    """Fakes behind the real domain layer and both real transports, on free ports.

    `given` are other faces of the domain layer than `services_of` would fake.
    """
    limits, observer = limits or Limits(), observer or PrometheusObserver()
    settings = Settings(port=0, grpc_port=0, limits=asdict(limits), dialects=dialects)  # type: ignore[arg-type]
    async with (
        running_service(*specs, load=load, limits=limits, observer=observer, cache=cache) as service,
        listening(
            services := services_of(service, limits, **given), settings, auth=Keyring(keys), observer=observer
        ) as at,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{at.port}", trust_env=False) as rest,
        grpc.aio.insecure_channel(f"127.0.0.1:{at.grpc_port}", options=[("grpc.enable_http_proxy", 0)]) as ch,
    ):
        yield Served(service, services, observer, rest, ch, at.port, at.grpc_port)


class Way(Protocol):
    """One way in: the reply of a verb as plain values, or a `Refused`."""

    async def __call__(self, verb: str, body: Body) -> Body: ...


class Refused(Exception):
    """What a caller can tell of an error, whichever way in."""

    def __init__(self, code: str, message: str, param: str | None, retry_after_ms: int | None) -> None:
        super().__init__(code, message, param, retry_after_ms)
        self.code, self.message, self.param, self.retry_after_ms = code, message, param, retry_after_ms


@dataclass(frozen=True)
class InProcess:
    """The domain layer called directly, with JSON's decoder as the shortest way to a query."""

    service: ScoringService

    async def __call__(self, verb: str, body: Body) -> Body:
        call, limits = Call("", "in-process"), self.service.limits
        try:
            if verb == "models":
                return {"models": [_plain(asdict(info)) for info in self.service.models()]}
            if verb == "score":
                scored = await self.service.score(decode_score(body, call, limits))
                return _loads(render_score(scored, call.request_id))
            if verb == "compare":
                compared = await self.service.compare(decode_compare(body, call, limits))
                return _loads(render_compare(compared, call.request_id))
            ranked = await self.service.rank(decode_rank(body, call, limits))
            return _loads(render_rank(ranked, call.request_id))
        except GuerdonError as err:
            raise Refused(err.code, wire_text(err.message), err.param, err.retry_after_ms) from None


@dataclass(frozen=True)
class Rest:
    """Over HTTP."""

    client: httpx.AsyncClient

    async def __call__(self, verb: str, body: Body) -> Body:
        if verb == "models":
            response = await self.client.get("/v1/models")
        else:
            response = await self.client.post(f"/v1/{verb}", json=body)
        reply = _loads(response.content)
        if response.status_code != 200:
            raise Refused(**reply["error"])
        return reply


@dataclass(frozen=True)
class Rpc:
    """Over gRPC."""

    stub: Any
    metadata: tuple[tuple[str, str], ...] = ()

    async def __call__(self, verb: str, body: Body) -> Body:
        method, request = {
            "models": ("ListModels", pb.ListModelsRequest),
            "score": ("Score", pb.ScoreRequest),
            "compare": ("Compare", pb.CompareRequest),
            "rank": ("Rank", pb.RankRequest),
        }[verb]
        try:
            reply = await getattr(self.stub, method)(request(**body), metadata=self.metadata)
        except grpc.aio.AioRpcError as err:
            raise refusal(err) from None
        return plain(reply)


def plain(message: Any) -> Body:
    """A protobuf message as the JSON that REST would send."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def refusal(err: grpc.aio.AioRpcError) -> Refused:
    """What the trailers tell."""
    metadata: Any = err.trailing_metadata()
    trailers = dict(iter(metadata))
    told = pb.Error.FromString(trailers["guerdon-error-bin"])
    assert told.code == trailers["guerdon-error-code"]
    assert told.message == err.details()
    return Refused(
        told.code,
        told.message,
        told.param if told.HasField("param") else None,
        told.retry_after_ms if told.HasField("retry_after_ms") else None,
    )


def _loads(data: bytes) -> Body:
    value: Body = json.loads(data)
    return value


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


class Watching(PrometheusObserver):
    """Lets a test wait for what the service does, instead of for time to pass."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.codes: list[str] = []
        self.num_admitted = 0
        """Requests that the queue took, for as long as no forward ends."""

    def request(self, verb: str, transport: str, code: str, seconds: float, **ids: str) -> None:
        super().request(verb, transport, code, seconds, **ids)
        self.codes.append(code)
        self._changed.set()

    def queued(self, model: str, num_items: int, num_tokens: int) -> None:
        super().queued(model, num_items, num_tokens)
        self.num_admitted += 1
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is looked at after every change."""
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@dataclass(frozen=True)
class Gate:
    """A back end whose forwards wait until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    backends: list[WeightedSumBackend] = field(default_factory=list)

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Stands in for `load_fake`."""
        self.backends.append(WeightedSumBackend(before=self._wait))
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), self.backends[-1])

    async def until_entered(self) -> None:
        """Return once a forward has begun."""
        assert await asyncio.to_thread(self.entered.wait, 30)

    def _wait(self) -> None:
        self.entered.set()
        assert self.opened.wait(30)
