"""The engine process's side: one back end, asked over a socket until the service closes it or dies."""

import os
import queue
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from typing import Any

from guerdon_service.backends.process.wire import Head, pack_scores, receive, send, unpack_batch
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Backend, arithmetic_of

Order = dict[str, Any]
"""What to load: the first frame's head, as the launch has it."""

MAX_TRACEBACK_CHARS = 8000


def serve_stdin(load: Callable[[Order], Backend]) -> None:
    """Load what the first frame on standard input (a socket) orders, say what it is, then forward batches.

    Signals that ask to stop are the service's to answer: this process ends when its socket does, whatever it
    is at, so no process of a service that is gone holds a device. Call it first, in the main thread.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=0)
    frames: queue.SimpleQueue[tuple[Head, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sock, frames), name="guerdon-read", daemon=True).start()
    order, _ = frames.get()
    try:
        backend = load(order)
    except InvalidInput as err:
        send(sock, {"refused": err.message, "param": err.param})
        return
    except Exception:
        send(sock, _failure())
        return
    send(
        sock,
        {
            "name": backend.name,
            "dtype": backend.dtype,
            "num_heads": backend.num_heads,
            "shares_prefix": backend.shares_prefix,
            "arithmetic": arithmetic_of(backend),
        },
    )
    while True:
        send(sock, *_answer(backend, *frames.get()))


def _answer(backend: Backend, head: Head, body: bytes) -> tuple[Head, bytes]:
    try:
        scores, stats = backend.forward(unpack_batch(head, body))
    except Exception:
        return _failure(), b""
    told = {"shape": scores.shape, "num_tokens": stats.num_tokens, "num_computed": stats.num_computed}
    return told, pack_scores(scores)


def _failure() -> Head:
    return {"failed": traceback.format_exc()[-MAX_TRACEBACK_CHARS:]}


def _read(sock: socket.socket, frames: "queue.SimpleQueue[tuple[Head, bytes]]") -> None:
    """Hand on what comes; end the process when the service is gone, even in the middle of a forward."""
    try:
        while True:
            frames.put(receive(sock))
    finally:
        os._exit(0)
