"""What schemathesis makes of the OpenAPI document, sent to the service on a real socket."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from guerdon_service.bestofn.admission import MAX_SAMPLES
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.auth import ApiKey, Scope
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.limits import Limits
from guerdon_service.rest.openapi import openapi_document
from tests.contract.harness import served
from tests.fakes import WeightedSumBackend, manifest

KEY = ApiKey("all", hashlib.sha256(b"secret").hexdigest(), frozenset(Scope))
LIMITS = Limits(max_items=20)
MAX_EXAMPLES = 25
STATEFUL = (
    "POST /v1/datasets",  # names may be taken, and which records are preferences no schema says
    "POST /v1/models",  # names may be taken
    "POST /v1/models/{name}/versions",  # and malformed
    "POST /v1/models/{name}/promote",  # what is registered no schema can say
    "POST /v1/models/{name}/rollback",
    "POST /v1/models/{name}/remove-alias",
    "POST /v1/policy-evaluations",  # whose policies and models are there, and which fields go together
    "POST /v1/feedback",  # two responses must differ, and be those that were shown
)
"""Operations that may refuse a body although it fits the schema."""

load_all_checks()
schema = schemathesis.openapi.from_dict(openapi_document("1", LIMITS))


class RoomyEncoder:
    """One token per character and no limit: how much fits a model no schema can say."""

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        prompt = "".join(m.content for m in conversation.prompt)
        ids = np.array([ord(c) for c in prompt + conversation.response], dtype=np.int32)
        return Encoded(ids, len(prompt), truncated=False)


def load_roomy(spec: ModelSpec) -> LoadedModel:
    return LoadedModel(spec, manifest(spec.name), RoomyEncoder(), WeightedSumBackend())


@schema.auth()
class Bearer:
    """Adds the key, unless a check wants to see what happens without."""

    def get(self, case: Any, context: Any) -> str:
        return "Bearer secret"

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["authorization"] = data


@contextmanager
def in_a_thread() -> Iterator[str]:
    """A service in a thread of its own: schemathesis calls it synchronously."""
    listening, port, stop = threading.Event(), 0, asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        nonlocal port
        async with served(keys=(KEY,), limits=LIMITS, load=load_roomy) as it:
            port = it.port
            listening.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert listening.wait(30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with in_a_thread() as url:
        yield url


@schema.parametrize()
@settings(
    max_examples=MAX_EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_service_does_what_its_document_says(case: Any, url: str) -> None:
    if isinstance(case.body, dict):
        set_aside_what_no_schema_can_say(case.body)
    excluded = [positive_data_acceptance] if case.operation.label in STATEFUL else []
    case.call_and_validate(base_url=url, excluded_checks=excluded)


def set_aside_what_no_schema_can_say(body: dict[str, Any]) -> None:
    """Which policies and profiles there are, how many samples take too long, and that a deadline of 1 ms is
    right to be missed.
    """
    if isinstance(body.get("policy"), str):
        body["policy"] = "echo"
    if isinstance(body.get("n"), int | float) and 4 < body["n"] <= MAX_SAMPLES:
        body["n"] = 4
    if isinstance(body.get("profile"), str):
        body["profile"] = "both"
    if isinstance(body.get("deadline_ms"), int | float) and 1 <= body["deadline_ms"] < 60_000:
        body["deadline_ms"] = 60_000
