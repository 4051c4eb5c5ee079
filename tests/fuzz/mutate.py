"""Bytes that are nearly right: seeds, cut, spliced, repeated and sprinkled with what parsers stumble over."""

import random
from collections.abc import Iterator, Sequence

TOKENS = (
    *(
        b"\x00",
        b"\xff",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\\ud800",
        b"\\u0000",
        b'"',
        b"{",
        b"}",
        b"[",
    ),
    *(
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"-0",
        b"9" * 40,
        b'"items":',
        b'"prompt":',
        b"[" * 200,
    ),
    *(
        b"\x08",
        b"\x12",
        b"\x1a\x05",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"%00",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: -1\r\n",
        b"0\r\n\r\n",
        b"\x00\x00\x09\x01\x25\x00\x00\x00\x01",
    ),
)
MAX_BYTES = 4096


def mutations(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs, the same for the same `seed`; the seeds themselves come first."""
    chance = random.Random(seed)
    yield from seeds[:count]
    for _ in range(max(0, count - len(seeds))):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            _mutate(data, seeds, chance)
        yield bytes(data[:MAX_BYTES])


def _mutate(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.randint(1, 16))
    match chance.randrange(7):
        case 0:
            data[at:end] = b""
        case 1:
            data[at:at] = chance.choice(TOKENS)
        case 2:
            data[at:end] = chance.randbytes(end - at)
        case 3:
            data[at:at] = data[at:end] * chance.randint(1, 20)
        case 4:
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        case 5 if data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        case _:
            del data[at:]
