"""The synchronous face: signatures, threads, running loops, forks, closing."""

import asyncio
import gc
import inspect
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import pytest

import guerdon
from guerdon import AsyncClient, Client, MockTransport, reward_handler
from guerdon.client.portal import Portal
from guerdon.transport import Payload
from tests.client.conftest import Service
from tests.client.stub import stub_reward

T = TypeVar("T")
PUBLIC = [n for n, f in vars(AsyncClient).items() if inspect.iscoroutinefunction(f) and n[0] != "_"]


@pytest.mark.parametrize("name", [*PUBLIC, "__init__"])
def test_both_clients_have_the_same_signatures(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(cls, name)) for cls in (Client, AsyncClient))
    assert ours == theirs


def test_public_methods_are_all_there() -> None:
    assert {n for n in vars(Client) if n[0] != "_"} == set(PUBLIC)


def test_many_threads_share_a_client(service: Service) -> None:
    with Client(service[0]) as client, ThreadPoolExecutor(8) as pool:
        rewards = list(pool.map(lambda i: client.score([("p", str(i))]).scores[0].reward, range(40)))
    assert rewards == [stub_reward("p", str(i)) for i in range(40)]


async def test_it_works_inside_a_running_loop(rest: Service) -> None:
    with Client(rest[0]) as client:
        assert len(client.score([("p", "r")]).scores) == 1
        assert len((await asyncio.to_thread(client.score, [("p", "r")])).scores) == 1


def test_a_forked_child_uses_its_own_connections(rest: Service) -> None:
    url, stub = rest
    with Client(url) as client:
        client.score([("p", "parent")])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = (
                    0 if client.score([("p", "child")]).scores[0].reward == stub_reward("p", "child") else 2
                )
                client.close()
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert client.score([("p", "again")]).scores[0].reward == stub_reward("p", "again")
    assert len(stub.connections) == 2


def test_grpc_after_a_fork_is_refused_instead_of_hanging(grpc_service: Service) -> None:
    """The parent's client, and a new one, which would wait as long: the library's own threads are gone."""
    url, _ = grpc_service
    with Client(url) as client:
        client.score([("p", "parent")])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                told = [refused(client), refused(Client(url, timeout_s=20))]
                code = 0 if all("does not survive a fork" in text for text in told) else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert client.score([("p", "again")]).scores[0].reward == stub_reward("p", "again")


def refused(client: Client) -> str:
    try:
        return f"not refused: {client.score([('p', 'child')])}"
    except guerdon.GuerdonError as err:
        return str(err)


def test_what_a_call_is_given_is_read_in_its_own_thread() -> None:
    """A database's rows belong to their thread, and a slow generator is no other caller's business."""
    readers: list[threading.Thread] = []

    def seen(*values: T) -> Iterator[T]:
        readers.append(threading.current_thread())
        yield from values

    with Client(MockTransport(reward_handler(stub_reward))) as client:
        assert len(client.score(seen(("p", "r"), ("p", "q"))).scores) == 2
        assert len(client.compare(seen(("p", "r", "q"))).preferences) == 1
        assert len(client.rank("p", seen("r", "q", "s")).results) == 3
        with suppress(guerdon.InvalidInput):  # the stand-in answers neither
            client.evaluate_policy("p", seen("q"))
        with suppress(guerdon.InvalidInput):
            client.add_dataset("d.jsonl", seen({"prompt": "p"}))
    assert readers == [threading.current_thread()] * 5


def test_ctrl_c_cancels_the_call_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def hang(verb: object, payload: object) -> Payload:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("the wait only ends by being cancelled")

    def interrupted(future: Future[object]) -> None:
        """What Ctrl-C makes of waiting for a result."""
        assert started.wait(30)
        raise KeyboardInterrupt

    with Client(MockTransport(hang)) as client:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Future, "result", interrupted)
            client.models()
        assert cancelled.wait(30)


@pytest.mark.parametrize("again", [Client.models, Client.close])
def test_a_callback_that_calls_its_client_is_told_instead_of_hanging(
    again: Callable[[Client], object], recwarn: pytest.WarningsRecorder
) -> None:
    answer = reward_handler(stub_reward)
    (score,) = answer("score", {"items": [{"prompt": "p", "response": "r"}]})["scores"]
    candidate = {"index": 0, "response": "r", "finish_reason": "stop", "score": score}
    client = Client(MockTransport(lambda verb, payload: {"candidates": [candidate]}))
    ended: Future[object] = Future()

    def call() -> None:
        try:
            ended.set_result(client.best_of_n("p", "q", 1, on_candidate=lambda _: again(client)))
        except Exception as err:
            ended.set_exception(err)

    threading.Thread(target=call, daemon=True).start()
    with pytest.raises(RuntimeError, match="a callback called the client"):
        ended.result(30)
    client.close()
    gc.collect()
    assert not [str(w.message) for w in recwarn if "never awaited" in str(w.message)]


def test_a_closed_client_says_so_and_its_thread_is_gone() -> None:
    before = threading.active_count()
    client = Client(MockTransport(reward_handler(stub_reward)))
    assert threading.active_count() == before + 1
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        client.models()


async def test_the_async_client_closes_its_transport() -> None:
    closed = []

    class Closing(MockTransport):
        async def close(self) -> None:
            closed.append(True)

    async with AsyncClient(Closing(reward_handler(stub_reward))) as client:
        await client.models()
    assert closed == [True]


def test_a_stream_that_was_left_early_is_closed_before_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []

    async def stream(depth: int) -> AsyncGenerator[int]:
        try:
            if depth:
                async for part in stream(depth - 1):
                    yield part
            while True:
                yield 0
        finally:
            await asyncio.sleep(0.05)  # longer than an unguarded loop goes on
            ended.append(depth)

    async def first() -> int:
        async for part in stream(4):  # as httpx has them, one within the other
            return part
        raise AssertionError("it has no end")

    portal = Portal()
    portal.run(first())
    portal.close()
    gc.collect()
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert not caplog.records


def test_a_call_that_never_ends_does_not_keep_the_client_from_closing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guerdon.client.portal.GRACE_S", 0.01)
    portal = Portal()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(portal.run, asyncio.Event().wait())
        portal.run(asyncio.sleep(0))
        portal.close()
        with pytest.raises(CancelledError):
            waiting.result()
    gc.collect()
    assert not caplog.records


def test_work_that_will_not_be_cancelled_does_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guerdon.client.portal.GRACE_S", 0.01)
    kept = []

    async def stubborn() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def begin() -> None:
        kept.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)

    portal = Portal()
    portal.run(begin())
    closing = threading.Thread(target=portal.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive() and not kept[0].done()
