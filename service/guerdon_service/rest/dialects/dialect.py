"""What a dialect is: routes that parse, call the domain layer and render, and the shape of its errors."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import Headers

from guerdon_service.core.auth import Scope
from guerdon_service.core.call import Call, options
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError, InvalidInput, UnsupportedMedia
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.core.scorer import Scorer
from guerdon_service.rest.dialects.patience import patiently
from guerdon_service.rest.fields import Fields
from guerdon_service.rest.strict_json import check_depth, parse_json


@dataclass(frozen=True, slots=True)
class Ask:
    """One request in a dialect.

    params: of the route's path.
    """

    scorer: Scorer
    limits: Limits
    call: Call
    params: Mapping[str, str]
    headers: Headers
    content: bytes

    def fields(self, content: bytes | None = None) -> Fields:
        """The JSON object of the body, or of `content`.

        Fields that a dialect does not know are ignored, as its own servers do; its file refuses by name those
        that would change a score.

        Raises:
            InvalidInput: it is not one.
        """
        value = parse_json(self.content if content is None else content)
        check_depth(value, self.limits.max_json_depth)
        if not isinstance(value, dict):
            raise InvalidInput("body is no object; send a JSON object", param="body")
        return value

    async def score(self, items: Sequence[Conversation], model: str | None) -> ScoreResult:
        """Scores of `items`, waiting for room in the queue up to the service's deadline.

        Args:
            model: as the client wrote it; of a path (``org/name``) the last part counts.
        """
        asked = self._options(model)

        def attempt(remaining_s: float) -> Awaitable[ScoreResult]:
            return self.scorer.score(ScoreQuery(tuple(items), replace(asked, deadline_s=remaining_s)))

        return await patiently(attempt, self.limits.default_deadline_s, asyncio.sleep)

    async def token_ids(self, item: Conversation, model: str | None) -> tuple[tuple[int, ...], int]:
        """Token ids that `item` is scored from, and the model's `max_tokens`; `model` as in `score`."""
        asked = self._options(model)
        ids = (await self.scorer.token_ids(ScoreQuery((item,), asked)))[0]
        default = next(info.name for info in self.scorer.models() if info.default)
        return ids, self.scorer.model(asked.model or default).max_tokens

    def _options(self, model: str | None) -> Options:
        name = (model or "").rstrip("/").rpartition("/")[2]
        return options(self.call, model=name, profile=None, lane=None, deadline_ms=None)


@dataclass(frozen=True, slots=True)
class DialectRoute:
    """One route.

    answer: gives what is sent as JSON; raises only `core.errors`.
    scope: that the caller's key needs; None: any key will do.
    is_open: no key is asked for.
    any_media: the body need not say that it is JSON.
    """

    method: str
    path: str
    answer: Callable[[Ask], Awaitable[object]]
    scope: Scope | None = Scope.SCORE
    is_open: bool = False
    any_media: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect.

    error: the body of a failure from it, the HTTP status and the message that may leave the service.
    bad_input_status: HTTP status of input that is refused.
    own_status: HTTP status of an error that differs from both; None where none does.
    """

    routes: tuple[DialectRoute, ...]
    error: Callable[[GuerdonError, int, str], Any]
    bad_input_status: int = 400
    own_status: Callable[[GuerdonError], int | None] = lambda error: None

    def status_of(self, error: GuerdonError) -> int:
        """The HTTP status of `error`; what is no bad input keeps the service's own."""
        bad_input = isinstance(error, InvalidInput | UnsupportedMedia)
        return self.own_status(error) or (self.bad_input_status if bad_input else error.http_status)
