"""Who a call's caller may be, before any handler has seen it."""

import pytest

from guerdon_service.core.auth import ApiKey, Keyring
from guerdon_service.rpc.dialects.mount import RPC_DIALECTS, open_methods
from guerdon_service.rpc.gate import Gate
from guerdon_service.rpc.http2.head import Head
from tests.contract.harness import ADMIN_KEY, KEYS

HEALTH = "/grpc.health.v1.Health/Check"


@pytest.mark.parametrize("keys", [(), KEYS])
def test_whoever_asks_what_is_open_to_anyone_may_do_nothing_else(keys: tuple[ApiKey, ...]) -> None:
    gate = Gate(Keyring(keys), open_methods(RPC_DIALECTS))
    for path in (HEALTH, *gate.open_methods):
        head = Head(200, 0, path, (("authorization", f"Bearer {ADMIN_KEY}"),), None, "identity")
        assert (gate.is_open(path), gate(head).scopes) == (True, frozenset()), path
