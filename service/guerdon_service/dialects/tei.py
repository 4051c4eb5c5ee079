"""What text-embeddings-inference's routes share over REST and gRPC."""

from collections.abc import Sequence

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import BackendFailed, GuerdonError, InvalidInput, NotReady, Overloaded
from guerdon_service.dialects.markup import of_pair, of_text

LABEL = "LABEL_0"
"""Of the one score."""
TOKENIZATION_WORKERS = 1
"""Told because the field is there; nothing follows from it."""


def as_conversation(texts: Sequence[str], path: str) -> Conversation:
    """One text, whose markup tells its turns, or a prompt and its response.

    Raises:
        InvalidInput: there are more, or none.
    """
    if len(texts) == 1:
        return of_text(texts[0], path)
    if len(texts) == 2:
        return of_pair(texts[0], texts[1], path)
    raise InvalidInput(f"{path} holds {len(texts)} texts; give one, or a prompt and a response", param=path)


def kind_of(error: GuerdonError) -> str:
    """What that server would call `error`; "" where it knows nothing of the kind."""
    kinds: tuple[tuple[type[GuerdonError], str], ...] = (
        (Overloaded, "Overloaded"),
        (NotReady, "Unhealthy"),
        (BackendFailed, "Backend"),
        (InvalidInput, "Validation"),
    )
    return next((kind for cls, kind in kinds if isinstance(error, cls)), "")
