"""What header blocks cost the connection that sends them."""

from unittest.mock import Mock, call

import pytest

from guerdon_service.rpc.http2.calm import Calm
from guerdon_service.rpc.http2.head import FREE_BYTES, FREE_FIELDS, HeadReader
from tests.rpc.http2.peer import HEADERS, block

REFERENCE = b"\x90"
"""A whole field, of HPACK's own table."""
NUM_LEFT = FREE_FIELDS - len(HEADERS)


@pytest.mark.parametrize(
    ("head", "price"),
    [
        (block(), []),
        (block() + REFERENCE * NUM_LEFT, []),
        (block() + REFERENCE * (NUM_LEFT + 7), [call(7)]),
        (block(x_long="y" * (FREE_BYTES - 500)), []),
        (block(x_long="y" * (FREE_BYTES + 20 * 1024)), [call(20)]),
    ],
)
def test_a_head_pays_for_what_is_beyond_what_callers_send(head: bytes, price: list[object]) -> None:
    calm = Mock(spec=Calm)
    HeadReader(100_000, calm).read(head)
    assert calm.spend.mock_calls == price


def test_what_nobody_needs_pays_at_any_length() -> None:
    calm = Mock(spec=Calm)
    HeadReader(100_000, calm).skip(REFERENCE * (FREE_FIELDS + 7))
    assert calm.spend.mock_calls == [call(), call(7)]
