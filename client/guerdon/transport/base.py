"""The seam between the client and a wire."""

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

Verb = Literal[
    "score",
    "compare",
    "rank",
    "models",
    "load_model",
    "unload_model",
    "best_of_n",
    "policies",
    "evaluate_policy",
    "add_dataset",
    "start_evaluation",
    "follow_evaluation",
    "evaluation",
    "evaluations",
    "cancel_evaluation",
    "evaluation_report",
    "register",
    "registered_models",
    "history",
    "model_card",
    "promote",
    "rollback",
    "remove_alias",
    "feedback",
    "agreement",
]
Payload = dict[str, Any]
"""JSON-ready; field names equal the REST interface's, which equal the proto's."""


NAMED_PARTS: frozenset[Verb] = frozenset({"best_of_n", "evaluate_policy"})
"""Verbs whose streams have named parts, ``result`` the last."""


class Transport(Protocol):
    """One request, one answer. Holds connections, knows neither retries nor chunks."""

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        """Send one request and return its answer as REST's JSON would give it.

        Args:
            timeout_s: the caller cancels after it; pass it on where the wire can carry it.

        Raises:
            GuerdonError: what the service answered, or `ConnectionFailed`.
        """
        ...

    def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        """Send one request and yield the parts of its answer: `NAMED_PARTS` and ``follow_evaluation``.

        Parts of ``best_of_n`` are ``{"candidate": ...}``, those of ``evaluate_policy`` ``{"progress": ...}``,
        and at last ``{"result": ...}``, as gRPC has it;
        those of ``follow_evaluation`` are evaluations. Closing the iterator ends the request.

        Args:
            timeout_s: as in `call`; None sets no end.

        Raises:
            GuerdonError: what the service answered, even after some parts, or `ConnectionFailed`.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
