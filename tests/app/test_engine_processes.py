"""``guerdon serve`` with devices: the scores of the back end in a thread, and no process outlives it."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from guerdon_service.app.engine_process import load
from guerdon_service.app.launches import launches, visible
from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from tests.scaling.cluster import ServeProcess
from tests.tiny import tiny

NUM_PROCESSES = 2
PAIRS = [(f"How does {word} work?", f"It works by {word}. " * n) for n, word in enumerate("abcdefghijkl", 1)]
WAIT_S = 300.0


@dataclass(frozen=True)
class Running:
    """The service, and the same model in a thread of this process."""

    serve: ServeProcess
    rest: httpx.Client
    model: LoadedModel

    def raw(self, pairs: list[tuple[str, str]]) -> list[float]:
        """What the service gives."""
        items = [{"prompt": prompt, "response": response} for prompt, response in pairs]
        reply = self.rest.post("/v1/score", json={"items": items})
        assert reply.status_code == 200, reply.text
        told = reply.json()
        assert told["model"]["digest"] == self.model.manifest.digest
        return [score["reward"] for score in told["scores"]]

    def expected(self, pairs: list[tuple[str, str]]) -> list[float]:
        """What the back end in a thread gives."""
        encoded = [self.model.encoder.encode(Conversation.of(*pair), "response") for pair in pairs]
        return [float(row[0]) for row in self.model.backend.forward(encoded)[0]]

    def processes(self) -> list[dict[str, Any]]:
        state = self.rest.get("/debug/state").json()
        found: list[dict[str, Any]] = state["models"][0]["queue"]["processes"]
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = str(tiny("qwen3"))
    log = tmp_path_factory.mktemp("serve") / "log"
    command = (
        *(sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0", "--threads", "1"),
        *("--model", f"tiny={folder}", *("--devices", "cpu") * NUM_PROCESSES),
    )
    serve = ServeProcess(command, log).start()
    try:
        model = load_model(ModelSpec("tiny", folder), num_threads=1)
        serve.until_ready()
        with httpx.Client(base_url=serve.rest, timeout=60, trust_env=False) as rest:
            yield Running(serve, rest, model)
        model.backend.close()
    finally:
        serve.kill()


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def has_ended(descriptor: int, timeout_s: float) -> bool:
    """Whether the process of a pidfd has ended, waiting so long at most."""
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def test_the_scores_are_those_of_a_thread_and_every_process_works(running: Running) -> None:
    assert running.raw(PAIRS) == running.expected(PAIRS)
    with ThreadPoolExecutor(8) as callers:
        several = [[(f"{prompt} {n}", response) for prompt, response in PAIRS] for n in range(24)]
        found = list(callers.map(running.raw, several))
    assert found == [running.expected(pairs) for pairs in several]
    state = running.processes()
    assert [(p["device"], p["live"], p["restarts"]) for p in state] == [("cpu", True, 0)] * NUM_PROCESSES
    assert min(p["forwards"] for p in state) > 5
    assert 'guerdon_engine_processes{model="tiny"} 2.0' in running.rest.get("/metrics").text


def test_a_killed_process_costs_no_answer_and_comes_back_with_the_same_scores(running: Running) -> None:
    before = running.processes()
    over = threading.Event()

    def ask_on() -> None:
        count = 0
        while not over.is_set():
            count += 1
            pairs = [(f"{prompt} {count}", response) for prompt, response in PAIRS[:1]]
            assert running.raw(pairs) == running.expected(pairs)

    with ThreadPoolExecutor(1) as caller:  # one, that the process finds a core to start on
        asking = caller.submit(ask_on)
        try:
            os.kill(before[0]["pid"], signal.SIGKILL)
            until(lambda: running.processes()[0]["restarts"] == 1)
            until(lambda: running.processes()[0]["forwards"] > 5)
        finally:
            over.set()
        asking.result()
    assert running.processes()[0]["pid"] != before[0]["pid"]
    assert 'guerdon_engine_process_restarts_total{model="tiny"} 1.0' in running.rest.get("/metrics").text


def test_sigterm_drains_and_leaves_no_process(running: Running) -> None:
    """The last one: it stops the service."""
    before = running.processes()
    descriptors = [os.pidfd_open(process["pid"]) for process in before]
    with ThreadPoolExecutor(1) as caller:
        pairs = [(prompt, f"{response} last") for prompt, response in PAIRS] * 20
        asked = caller.submit(running.raw, pairs)
        num_before = sum(process["forwards"] for process in before)
        until(lambda: sum(process["forwards"] for process in running.processes()) > num_before)
        running.serve.process.send_signal(signal.SIGTERM)
        assert running.serve.process.wait(WAIT_S) == 0
        assert asked.result() == running.expected(pairs)
    for descriptor in descriptors:
        assert has_ended(descriptor, 0), "it outlived the service"
        os.close(descriptor)


def test_processes_end_with_a_service_that_is_killed() -> None:
    command = (sys.executable, "-m", "tests.backends.pool_parent")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        descriptors = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(descriptors) == 2
        parent.kill()
    for descriptor in descriptors:
        assert has_ended(descriptor, WAIT_S), "it outlived the service"
        os.close(descriptor)


def test_a_process_sees_its_device_alone() -> None:
    assert visible("cuda:1", {}) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert visible("cuda:1", {"CUDA_VISIBLE_DEVICES": "4, GPU-8f2b"}) == {"CUDA_VISIBLE_DEVICES": "GPU-8f2b"}
    assert visible("cuda", {"CUDA_VISIBLE_DEVICES": "4,5"}) == visible("cpu", {}) == {}
    with pytest.raises(InvalidInput, match="cuda:2 is not among the 2"):
        visible("cuda:2", {"CUDA_VISIBLE_DEVICES": "4,5"})


def test_processes_on_the_cpu_share_its_cores() -> None:
    spec = ModelSpec("m", "/m", devices=("cpu", "cpu", "cuda:0"))
    threads = [launch.order["num_threads"] for launch in launches(spec, "d", None)]
    assert threads == [max(1, (os.cpu_count() or 1) // 2)] * 3
    assert [launch.order["device"] for launch in launches(spec, "d", 3)] == ["cpu", "cpu", "cuda"]
    assert [launch.order["num_threads"] for launch in launches(spec, "d", 3)] == [3, 3, 3]
    assert launches(ModelSpec("m", "/m", devices=("cuda:0",)), "d", None)[0].order["num_threads"] is None


def test_a_process_refuses_an_artifact_that_is_no_longer_what_the_service_read() -> None:
    spec = ModelSpec("tiny", str(tiny("bert")), devices=("cpu",))
    (launch,) = launches(spec, "0" * 64, 1)
    with pytest.raises(InvalidInput, match="changed at its source"):
        load(dict(launch.order))
