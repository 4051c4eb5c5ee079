"""Rewards of responses for bulk work: by one model, and by a second one that checks it."""

import re
from collections.abc import Sequence
from dataclasses import replace

from guerdon_service.bestofn.pinned import check_same, pinned
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.core.result import Provenance
from guerdon_service.core.scorer import Scorer
from guerdon_service.scoring.patience import patiently

_DEADLINE_S = 3600.0
_REFUSED = re.compile(r"items\[(\d+)\]\.(?:response|prompt)")
"""A conversation that is too long is named by its longer part."""


class Rewards:
    """One reward model through the scorer, in the bulk lane; `model` is which one answered, once it did.

    Raises:
        UnknownModel, InvalidInput: see `pinned`.
    """

    def __init__(self, scorer: Scorer, options: Options) -> None:
        self._scorer = scorer
        self._options = replace(pinned(scorer, options), lane=Lane.BULK, deadline_s=_DEADLINE_S)
        self.model: Provenance | None = None

    async def of(self, prompt: tuple[Message, ...], texts: Sequence[str]) -> dict[str, float]:
        """Reward of each distinct text, scored once; a text that does not fit the model is left out.

        Raises:
            NotReady: the model became another.
            GuerdonError: the model's.
        """
        left = list(dict.fromkeys(texts))
        while left:
            query = ScoreQuery(tuple(Conversation(prompt, text) for text in left), self._options)
            try:
                result = await patiently(lambda query=query: self._scorer.score(query))  # type: ignore[misc]
            except InvalidInput as err:
                match = _REFUSED.fullmatch(err.param or "")
                if match is None:
                    raise
                left.pop(int(match[1]))
                continue
            check_same(self.model, result.model)
            self.model = result.model
            return dict(zip(left, (score.reward for score in result.scores), strict=True))
        return {}
