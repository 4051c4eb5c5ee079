"""Whatever one way in can do, the others can: REST, gRPC and the client have the same verbs, but for what is
named here."""

from typing import get_args

from guerdon.client import AsyncClient
from guerdon.transport import Verb
from guerdon.transport.routes import ROUTES
from guerdon.transport.rpc import METHODS, STREAMS
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.rest.table import TABLE

OF_OPERATORS = {
    ("GET", "/v1/audit"),
    ("GET", "/debug/state"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
}
"""Routes that people and machines who operate the service ask, without its client."""
ONE_OF_A_LIST = {("GET", "/v1/models/{name}")}
"""The client finds it in the list, as gRPC tells it."""
REST_ALONE = {"load_model", "unload_model"}
"""They change one replica. Registering and promoting, which every replica follows, is there over gRPC too."""
NAMES = {"start_evaluation": "evaluate"}
"""Methods of the client that are not called as their verb."""


def test_every_route_has_a_verb_of_the_client() -> None:
    served = {(row.method, row.path) for row in TABLE}
    asked = {(route.method, route.path.partition("?")[0]) for route in ROUTES.values()}
    assert asked <= served
    assert served - asked == OF_OPERATORS | ONE_OF_A_LIST


def test_every_verb_of_the_client_is_a_method_of_grpc_and_of_rest() -> None:
    verbs = set(get_args(Verb))
    assert set(ROUTES) == verbs
    assert verbs - set(METHODS) - set(STREAMS) == REST_ALONE
    served = pb.DESCRIPTOR.services_by_name["RewardService"].methods_by_name
    used = {method for method, _ in (METHODS | STREAMS).values()}
    assert set(served) - used == {"ScoreStream"}, (
        "which only pays where nobody splits and joins for the caller"
    )


def test_the_client_has_a_method_for_every_verb() -> None:
    for verb in get_args(Verb):
        assert hasattr(AsyncClient, NAMES.get(verb, verb)), verb
