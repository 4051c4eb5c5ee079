"""Each dialect against a small server that speaks it: whose items were asked, and whose scores come back."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from guerdon_service.app.bench.texts import Item
from tests.bench_peers import wire
from tests.bench_peers.load import closed, poisson
from tests.bench_peers.wire import Wire
from tests.bench_peers.workload import Ask, best_of_16, items_of, mixed_singles, short_and_long

Answer = Callable[[str, Any], Any]


def text(item: Item) -> str:
    return f"{item.prompt}|{item.response}"


def worth(said: str) -> float:
    """A score that tells texts apart."""
    return float(len(said))


@contextmanager
def serving(answer: Answer, callers: set[Any] | None = None) -> Iterator[int]:
    """A server on a free port, which notes its callers' addresses; an answer that is None is a 500."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if callers is not None:
                callers.add(self.client_address)
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = answer(self.path, asked)
            body = json.dumps(reply).encode()
            self.send_response(500 if reply is None else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def guerdon(path: str, asked: Any) -> Any:
    if path == "/v1/score":
        return {"scores": [{"reward": worth(text(Item(**i)))} for i in asked["items"]]}
    rewards = [worth(f"{asked['prompt']}|{c}") for c in asked["candidates"]]
    results = [{"index": i, "reward": r} for i, r in enumerate(rewards)]
    return {"results": sorted(results, key=lambda r: -r["reward"])}


def infinity(path: str, asked: Any) -> Any:
    assert path == "/rerank" and asked["raw_scores"]
    scores = [worth(f"{asked['query']}|{d}") for d in asked["documents"]]
    results = [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]
    return {"results": sorted(results, key=lambda r: -r["relevance_score"])}


def vllm(path: str, asked: Any) -> Any:
    assert path == "/classify" and asked["use_activation"] is False
    return {"data": [{"index": i, "probs": [worth(t)]} for i, t in enumerate(asked["input"])]}


def single(path: str, asked: Any) -> Any:
    assert path in ("/score", "/predict")
    return {"score": worth(asked["text"])}


def openrlhf(path: str, asked: Any) -> Any:
    assert path == "/get_reward"
    return {"rewards": [worth(t) for t in asked["query"]]}


DIALECTS = [
    (wire.GUERDON, guerdon),
    (wire.INFINITY, infinity),
    (wire.VLLM, vllm),
    (wire.NAIVE, single),
    (wire.LITSERVE, single),
    (wire.OPENRLHF, openrlhf),
]


@pytest.mark.parametrize(("dialect", "answer"), DIALECTS)
def test_scores_come_back_in_the_order_of_their_items(dialect: Wire, answer: Answer) -> None:
    asks = [*mixed_singles(9, seed=1), *best_of_16(2, seed=1)]
    with serving(answer) as port:
        run = closed(port, dialect, text, asks, concurrency=4)
    assert run.scores(dialect) == [worth(text(item)) for item in items_of(asks)]
    assert run.num_items == 9 + 32 and run.items_per_s > 0
    assert len(run.latencies_s["item"]) == 11


def test_arrivals_at_random_are_all_answered_and_told_apart() -> None:
    asks = short_and_long(60, seed=3)
    with serving(guerdon) as port:
        run = poisson(port, wire.GUERDON, text, asks, rate_per_s=2000.0, seed=0)
    assert {kind: len(of) for kind, of in run.latencies_s.items()} == {
        kind: sum(a.kind == kind for a in asks) for kind in ("short", "long")
    }
    assert run.scores(wire.GUERDON) == [worth(text(item)) for item in items_of(asks)]


def test_nobody_asks_again_when_the_time_is_over() -> None:
    with serving(single) as port:
        run = closed(port, wire.NAIVE, text, mixed_singles(9, seed=1), concurrency=2, seconds=0.0)
    assert run.num_items == len(run.replies) == 2


def test_an_answer_that_is_none_stops_the_run() -> None:
    with serving(lambda *_: None) as port, pytest.raises(RuntimeError, match="/score answered 500"):
        closed(port, wire.NAIVE, text, mixed_singles(3, seed=1), concurrency=2)


def test_connections_are_as_many_as_callers_and_no_more() -> None:
    callers: set[Any] = set()
    with serving(single, callers) as port:
        closed(port, wire.NAIVE, text, mixed_singles(40, seed=1), concurrency=5)
    assert len(callers) == 5


def test_work_is_the_same_for_all_and_new_in_every_round() -> None:
    for make in (mixed_singles, best_of_16, short_and_long):
        assert make(5, 1) == make(5, 1)
        assert not set(items_of(make(5, 1))) & set(items_of(make(5, 2)))
    lengths = [len(text(i).split()) for i in items_of(mixed_singles(300, 0))]
    assert min(lengths) >= 19 and max(lengths) <= 401 and 60 < sorted(lengths)[150] < 95
    assert len({item.prompt for item in best_of_16(1, 0)[0].items}) == 1
    assert Ask((Item("p", "r"),)).kind == "item"
