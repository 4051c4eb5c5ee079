"""Frames between the service and an engine process: two lengths, a JSON head, numbers as they lie in memory.

Nothing that is read can name code to run. Integers are int32, scores float32, both little-endian.
"""

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded

MAX_PART_BYTES = 1 << 28
"""Of a head or a body: far above any batch, so that lengths which are none are noticed."""

_LENGTHS = struct.Struct("<II")

Head = dict[str, Any]


def send(sock: socket.socket, head: Mapping[str, Any], body: bytes = b"") -> None:
    """Write one frame.

    Raises:
        OSError: the other end is gone, or did not read in time.
    """
    text = json.dumps(head).encode()
    sock.sendall(_LENGTHS.pack(len(text), len(body)) + text + body)


def receive(sock: socket.socket) -> tuple[Head, bytes]:
    """Read one frame.

    Raises:
        OSError: nothing came in time.
        EOFError: the other end is gone.
        ValueError: what came is no frame.
    """
    len_head, len_body = _LENGTHS.unpack(_exactly(sock, _LENGTHS.size))
    if max(len_head, len_body) > MAX_PART_BYTES:
        raise ValueError(f"a frame of {len_head} + {len_body} bytes")
    head = json.loads(_exactly(sock, len_head))
    if not isinstance(head, dict):
        raise ValueError("a frame whose head is no object")
    return head, _exactly(sock, len_body)


def pack_batch(batch: Sequence[Encoded]) -> tuple[Head, bytes]:
    """What a back end reads of a batch: the lengths, the prompts' lengths, and all token ids."""
    lengths = np.array([(e.num_tokens, e.prefix_len) for e in batch], dtype="<i4")
    ids = np.concatenate([e.input_ids for e in batch]).astype("<i4", copy=False)
    return {"num_items": len(batch)}, lengths.tobytes() + ids.tobytes()


def unpack_batch(head: Head, body: bytes) -> list[Encoded]:
    """The batch that was packed, but for `truncated`, which no back end reads."""
    numbers = np.frombuffer(body, dtype="<i4")
    num_items = head["num_items"]
    lengths = numbers[: 2 * num_items].reshape(num_items, 2)
    ids = np.split(numbers[2 * num_items :], np.cumsum(lengths[:-1, 0]))
    return [Encoded(i, int(p), truncated=False) for i, p in zip(ids, lengths[:, 1], strict=True)]


def pack_scores(scores: NDArray[np.float32]) -> bytes:
    """Scores as they lie in memory."""
    return np.ascontiguousarray(scores, dtype="<f4").tobytes()


def unpack_scores(head: Head, body: bytes) -> NDArray[np.float32]:
    """The scores that were packed, of the shape that the head names.

    Raises:
        ValueError: there are more or fewer.
    """
    return np.frombuffer(body, dtype="<f4").reshape(head["shape"]).astype(np.float32)


def _exactly(sock: socket.socket, num_bytes: int) -> bytes:
    data = bytearray(num_bytes)
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError("the other end closed")
        view = view[count:]
    return bytes(data)
