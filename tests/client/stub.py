"""Small real servers that answer as the service would, count what they are asked, and fail on request."""

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict

from guerdon import InvalidInput, reward_handler
from guerdon.transport import Payload, Verb
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceServicer, add_RewardServiceServicer_to_server


def stub_reward(prompt: Any, response: str) -> float:
    """A reward in [-3, 3) with all its mantissa bits in use."""
    digest = sha256(json.dumps([prompt, response]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 6 - 3


@dataclass
class Failure:
    """One scripted failure: over REST status, headers, body; over gRPC code, details, trailers."""

    status: int | grpc.StatusCode
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    details: str = ""
    trailers: tuple[tuple[str, str | bytes], ...] = ()


class Stub:
    """What both servers share. `before` is called with each request's number, from 1, before its answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[Verb, Payload, dict[str, str]]] = []
        self.failures: deque[Failure] = deque()
        self.before: Callable[[int], object] = lambda number: None
        self.connections: set[object] = set()
        self._answer = reward_handler(stub_reward)
        self._lock = threading.Lock()

    @property
    def verbs(self) -> list[Verb]:
        return [verb for verb, _, _ in self.requests]

    @property
    def responses_asked(self) -> Counter[str]:
        return Counter(
            item.get("response", "") for _, payload, _ in self.requests for item in payload.get("items", ())
        )

    def receive(self, verb: Verb, payload: Payload, headers: dict[str, str]) -> Payload | Failure:
        with self._lock:
            self.requests.append((verb, payload, headers))
            number = len(self.requests)
            failure = self.failures.popleft() if self.failures else None
        self.before(number)
        if failure is not None:
            return failure
        for i, item in enumerate(payload.get("items", ())):
            if not item.get("response"):
                param = f"items[{i}].response"
                raise InvalidInput(f"{param} is empty; give the text to score", param=param)
        if payload.get("profile") == "unknown":
            raise InvalidInput("profile 'unknown' is not defined", param="profile")
        return self._answer(verb, payload)


@contextmanager
def rest_stub() -> Iterator[tuple[str, Stub]]:
    stub = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", stub
    finally:
        server.shutdown()
        server.server_close()


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer("models")

        def do_DELETE(self) -> None:
            self.answer("unload_model", {"name": self.path.rsplit("/", 1)[1]})

        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
            tail = self.path.rsplit("/", 1)[1]
            self.answer("load_model" if tail == "models" else tail, payload)

        def answer(self, verb: Any, payload: Payload | None = None) -> None:
            stub.connections.add(self.client_address)
            try:
                reply = stub.receive(verb, payload or {}, {k.lower(): v for k, v in self.headers.items()})
            except InvalidInput as err:
                error = {"code": err.code, "message": err.message, "param": err.param, "retry_after_ms": None}
                reply = Failure(422, body=json.dumps({"error": error}).encode())
            if not isinstance(reply, Failure):
                reply = Failure(200, {"content-type": "application/json"}, json.dumps(reply).encode())
            assert isinstance(reply.status, int)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # a test killed the client in mid-request, and meant to
                super().handle()

    return Handler


@contextmanager
def grpc_stub() -> Iterator[tuple[str, Stub]]:
    stub = Stub()

    class Servicer(RewardServiceServicer):  # which answers UNIMPLEMENTED to all that is not here
        def serve(self, verb: Verb, request: Any, context: Any, reply: Any) -> Any:
            payload = MessageToDict(request, preserving_proto_field_name=True)
            headers = dict(context.invocation_metadata())
            headers["timeout_s"] = str(context.time_remaining())
            stub.connections.add(context.peer())
            answer: Any
            try:
                answer = stub.receive(verb, payload, headers)
            except InvalidInput as err:
                told = pb.Error(code=err.code, message=err.message, param=err.param)
                trailers = (("guerdon-error-bin", told.SerializeToString()),)
                answer = Failure(grpc.StatusCode.INVALID_ARGUMENT, details=err.message, trailers=trailers)
            if isinstance(answer, Failure):
                context.set_trailing_metadata(answer.trailers)
                context.abort(answer.status, answer.details)
            return ParseDict(answer, reply)

        def Score(self, request: Any, context: Any) -> Any:
            return self.serve("score", request, context, pb.ScoreResponse())

        def Compare(self, request: Any, context: Any) -> Any:
            return self.serve("compare", request, context, pb.CompareResponse())

        def Rank(self, request: Any, context: Any) -> Any:
            return self.serve("rank", request, context, pb.RankResponse())

        def ListModels(self, request: Any, context: Any) -> Any:
            return self.serve("models", request, context, pb.ListModelsResponse())

        def ScoreStream(self, requests: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "the client does not stream")

    server = grpc.server(ThreadPoolExecutor(8))
    add_RewardServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", stub
    finally:
        server.stop(grace=None).wait()
