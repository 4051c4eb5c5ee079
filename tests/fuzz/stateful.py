"""Histories of REST calls: what one call's answer names, the next one asks about, deletes or promotes."""

from contextlib import suppress
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from guerdon_service.rest.openapi import openapi_document
from tests.rest.test_schemathesis import LIMITS, Bearer, in_a_thread, set_aside_what_no_schema_can_say

_EVALUATION = ("/v1/evaluations/{id}", "/v1/evaluations/{id}/events", "/v1/evaluations/{id}/report")
_MODEL = "/v1/models/{name}"
LINKS = (
    # What an answer (path, method, status) names in which field, and the calls that take it in their paths.
    ("/v1/evaluations", "post", "202", "id", [(path, "get") for path in _EVALUATION]),
    ("/v1/evaluations", "post", "202", "id", [(_EVALUATION[0], "delete")]),
    ("/v1/models", "post", "201", "name", [(_MODEL, "get"), (_MODEL, "delete")]),
    ("/v1/models", "post", "201", "name", [(f"{_MODEL}/versions", way) for way in ("get", "post")]),
    ("/v1/models", "post", "201", "name", [(f"{_MODEL}/{act}", "post") for act in ("promote", "rollback")]),
    (f"{_MODEL}/versions", "post", "201", "name", [(f"{_MODEL}/promote", "post"), (_MODEL, "get")]),
    (f"{_MODEL}/promote", "post", "200", "name", [(f"{_MODEL}/rollback", "post"), (_MODEL, "get")]),
)


def run_histories(count: int, *, derandomize: bool = False) -> int:
    """Play up to `count` histories against a service; the number of calls made.

    Raises:
        Exception: the first answer that the document does not allow, a 5xx that it does not name among them.
    """
    document = openapi_document("1", LIMITS)
    for path, method, status, field, targets in LINKS:
        links = document["paths"][path][method]["responses"][status].setdefault("links", {})
        for target, way in targets:
            operation = document["paths"][target][way]["operationId"]
            links[operation] = {"operationId": operation, "parameters": {field: f"$response.body#/{field}"}}
    load_all_checks()
    schema: Any = schemathesis.openapi.from_dict(document)
    schema.auth()(Bearer)
    num_calls = 0
    with in_a_thread() as url:
        schema.config.update(base_url=url)

        class History(schema.as_state_machine()):  # type: ignore[misc]
            def before_call(self, case: Any) -> None:
                if isinstance(case.body, dict):
                    set_aside_what_no_schema_can_say(case.body)

            def validate_response(self, response: Any, case: Any, **more: Any) -> None:
                nonlocal num_calls
                num_calls += 1
                # Names may be taken or gone by now: a history's refusals are no schema's to foresee.
                excluded = [positive_data_acceptance, not_a_server_error]
                case.validate_response(response, excluded_checks=excluded)
                is_early = response.status_code == 503 and response.json()["error"]["code"] == "not_ready"
                assert response.status_code < 500 or is_early, (
                    "only an evaluation's report may be asked early"
                )

        # What a service keeps of one history shows in the next: hypothesis may see that, and stops early.
        with suppress(FlakyStrategyDefinition):
            run_state_machine_as_test(
                History,
                settings=settings(
                    max_examples=count,
                    stateful_step_count=8,
                    deadline=None,
                    derandomize=derandomize,
                    database=None,
                    verbosity=Verbosity.quiet,
                    phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
    return num_calls
