"""Feedback in SQL."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from guerdon_service.core.conversation import Message
from guerdon_service.core.feedback import Feedback
from guerdon_service.state.database import Database, insert_new
from guerdon_service.state.decode import decoded
from guerdon_service.state.pages import read_bodies
from guerdon_service.state.tables import FEEDBACK

PAGE = 500
"""Judgements that one query reads."""


class SqlFeedbackStore:
    """`core.feedback.FeedbackStore` on a `Database`. Every method raises `NotReady` in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, feedback: Feedback) -> None:
        """Store it; the same id of the same tenant again changes nothing."""
        row = {"id": feedback.id, "tenant": feedback.tenant, "body": asdict(feedback)}
        with self._database.writing() as connection:
            insert_new(connection, FEEDBACK, [row])

    def read(self, tenant: str | None = None) -> Iterator[Feedback]:
        """All of it, or one tenant's, in the order of arrival; a transaction per page."""
        return map(_feedback, read_bodies(self._database, FEEDBACK, tenant, PAGE))


def _feedback(body: dict[str, Any]) -> Feedback:
    prompt = tuple(decoded(Message, message) for message in body["prompt"])
    return decoded(Feedback, body | {"prompt": prompt, "shown": tuple(body["shown"])})
