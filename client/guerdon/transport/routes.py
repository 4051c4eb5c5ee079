"""Where each verb lives over REST."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from guerdon.transport.base import Payload, Verb


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, whose ``{fields}`` are taken out of the payload; POST sends the others."""

    method: str
    path: str

    def split(self, payload: Payload) -> tuple[str, Payload]:
        """The path with its fields filled in, and the body."""
        names = {name for name in payload if f"{{{name}}}" in self.path}
        filled = self.path.format(**{name: quote(str(payload[name]), safe="") for name in names})
        body: dict[str, Any] = {name: value for name, value in payload.items() if name not in names}
        return filled, body


ROUTES: dict[Verb, Route] = {
    "score": Route("POST", "/v1/score"),
    "compare": Route("POST", "/v1/compare"),
    "rank": Route("POST", "/v1/rank"),
    "models": Route("GET", "/v1/models"),
    "load_model": Route("POST", "/v1/models"),
    "unload_model": Route("DELETE", "/v1/models/{name}"),
    "best_of_n": Route("POST", "/v1/best-of-n"),
    "policies": Route("GET", "/v1/policies"),
    "evaluate_policy": Route("POST", "/v1/policy-evaluations"),
    "add_dataset": Route("POST", "/v1/datasets"),
    "start_evaluation": Route("POST", "/v1/evaluations"),
    "follow_evaluation": Route("GET", "/v1/evaluations/{id}/events"),
    "evaluation": Route("GET", "/v1/evaluations/{id}"),
    "evaluations": Route("GET", "/v1/evaluations"),
    "cancel_evaluation": Route("DELETE", "/v1/evaluations/{id}"),
    "evaluation_report": Route("GET", "/v1/evaluations/{id}/report?format={format}"),
    "register": Route("POST", "/v1/models/{name}/versions"),
    "registered_models": Route("GET", "/v1/registered-models"),
    "history": Route("GET", "/v1/models/{name}/versions"),
    "model_card": Route("GET", "/v1/models/{name}/versions/{version}/card"),
    "promote": Route("POST", "/v1/models/{name}/promote"),
    "rollback": Route("POST", "/v1/models/{name}/rollback"),
    "remove_alias": Route("POST", "/v1/models/{name}/remove-alias"),
    "feedback": Route("POST", "/v1/feedback"),
    "agreement": Route("GET", "/v1/feedback/agreement"),
}
TEXTS: dict[Verb, str] = {"evaluation_report": "report", "model_card": "card"}
"""Verbs that REST answers with a text, and what gRPC calls it."""
