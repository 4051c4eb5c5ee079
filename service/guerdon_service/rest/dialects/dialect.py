"""What a dialect is: routes that parse, call the domain layer and render, and the shape of its errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from guerdon_service.core.auth import Scope
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError, InvalidInput, UnsupportedMedia
from guerdon_service.core.result import ScoreResult
from guerdon_service.core.strict_json import check_depth, parse_json
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.rest.fields import Fields


@dataclass(frozen=True, slots=True)
class Ask:
    """One request in a dialect.

    params: of the route's path.
    """

    asked: PatientScorer
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
        check_depth(value, self.asked.limits.max_json_depth)
        if not isinstance(value, dict):
            raise InvalidInput("body is no object; send a JSON object", param="body")
        return value

    async def score(self, items: Sequence[Conversation], model: str | None) -> ScoreResult:
        """As `PatientScorer.score`."""
        return await self.asked.score(items, model)


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
