"""Frames between the service and its engine processes: nothing is lost, and nonsense is no score."""

import json
import socket
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.backends.process.engine_process import EngineProcess, Launch
from guerdon_service.backends.process.wire import (
    pack_batch,
    pack_scores,
    receive,
    send,
    unpack_batch,
    unpack_scores,
)
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import ProcessDied

ITEM = Encoded(np.array([1, 2, 3], dtype=np.int32), 1, truncated=False)
TOKEN = st.integers(0, 2**31 - 1)


def frame(head: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<II", len(head), len(body)) + head + body


def scored(shape: object, body: bytes) -> bytes:
    return frame(json.dumps({"shape": shape, "num_tokens": 3, "num_computed": 3}).encode(), body)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(TOKEN, min_size=2, max_size=20), min_size=1, max_size=9), st.data())
def test_a_batch_comes_out_as_it_went_in(ids: list[list[int]], data: st.DataObject) -> None:
    batch = [
        Encoded(np.array(i, dtype=np.int32), data.draw(st.integers(1, len(i) - 1)), truncated=False)
        for i in ids
    ]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, *pack_batch(batch))
        found = unpack_batch(*receive(theirs))
    assert [(str(f.input_ids.dtype), f.input_ids.tolist(), f.prefix_len) for f in found] == [
        ("int32", b.input_ids.tolist(), b.prefix_len) for b in batch
    ]


def test_scores_keep_every_bit_even_of_what_is_no_number() -> None:
    scores = np.array([[1e-45, -0.0], [np.inf, np.nan], [3.4e38, 1 / 3]], dtype=np.float32)
    found = unpack_scores({"shape": [3, 2]}, pack_scores(scores))
    assert found.tobytes() == scores.tobytes() and found.flags.writeable


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\x00" * 7,
        b"\x80\x04cos\nsystem\n",
        struct.pack("<II", 2**32 - 1, 0),
        frame(b"[]"),
        frame(b"{"),
        frame(b"\xff\xfe"),
        frame(b"{}", b"body"),
        scored([1, 1], b"\x00" * 3),
        scored([1, 2], b"\x00" * 4),
        scored("x", b"\x00" * 4),
        scored([1, 1], b"\x00" * 4)[:-1],
    ],
    ids=str,
)
def test_a_process_that_answers_nonsense_is_killed(nonsense: bytes) -> None:
    code = f"import os; os.read(0, 1); os.write(0, {nonsense!r})"
    process = EngineProcess(Launch((sys.executable, "-c", code), {}))
    with pytest.raises(ProcessDied):
        process.forward([ITEM], timeout_s=60)
    process.wait()
    process.close()
