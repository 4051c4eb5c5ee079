"""The domain layer as dialects ask it: by a model's name as their clients write it, and with patience."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.call import Call, options
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import NotReady, Overloaded, RateLimited
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.core.scorer import Scorer
from guerdon_service.dialects.patience import patiently


@dataclass(frozen=True, slots=True)
class PatientScorer:
    """One call's way to the domain layer; a full queue holds it. Raises only `core.errors`."""

    scorer: Scorer
    limits: Limits
    call: Call

    async def score(self, items: Sequence[Conversation], model: str | None) -> ScoreResult:
        """Scores of `items`, waiting for room in the queue up to the service's deadline or the call's own.

        However often the queue is asked, the key is charged for one request.

        Args:
            model: as the client wrote it; of a path (``org/name``) the last part counts.
        """
        asked = self._options(model)
        default_s = self.limits.default_deadline_s
        deadline_s = default_s if asked.deadline_s is None else min(asked.deadline_s, default_s)

        query = ScoreQuery(tuple(items), asked)

        async def attempt(remaining_s: float) -> ScoreResult:
            nonlocal query
            query = replace(query, options=replace(query.options, deadline_s=remaining_s))
            try:
                return await self.scorer.score(query)
            except RateLimited:  # charges nothing
                raise
            except Overloaded:
                query = replace(query, options=replace(query.options, is_retry=True))
                raise

        return await patiently(attempt, deadline_s, asyncio.sleep)

    async def token_ids(self, item: Conversation, model: str | None) -> tuple[tuple[int, ...], int]:
        """Token ids that `item` is scored from, and the model's `max_tokens`; `model` as in `score`."""
        asked = self._options(model)
        ids = (await self.scorer.token_ids(ScoreQuery((item,), asked)))[0]
        name = asked.model or self.default_model().name
        return ids, self.scorer.model(name).max_tokens

    def default_model(self) -> ModelInfo:
        """The model that answers where none is named.

        Raises:
            NotReady: none is loaded yet.
        """
        model = next((info for info in self.scorer.models() if info.default), None)
        if model is None:
            raise NotReady("no model is loaded yet; ask again", retry_after_ms=1000)
        return model

    def _options(self, model: str | None) -> Options:
        name = (model or "").rstrip("/").rpartition("/")[2]
        return options(self.call, model=name, profile=None, lane=None, deadline_ms=None)
