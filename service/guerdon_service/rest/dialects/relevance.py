"""What rerankers' requests share over REST."""

from collections.abc import Sequence

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.result import ScoreResult
from guerdon_service.dialects.ranked import Ranked, rank_texts
from guerdon_service.rest.dialects.dialect import Ask
from guerdon_service.rest.fields import Fields, read_list, read_string, read_text, read_whole


async def rank_documents(
    ask: Ask, fields: Fields, *, documents: str = "documents", top: str = "top_n"
) -> tuple[list[Ranked], ScoreResult]:
    """Documents best first, at most `top` of them: each is a response to ``query``.

    Equal rewards keep the request's order.

    Args:
        documents: name of the field of the documents, strings or objects with a ``text``.
        top: name of the field that says how many are wanted; absent, null or 0 is all of them.
    """
    query = read_text(fields, "query")
    texts = read_list(fields, documents, _document, limits=ask.asked.limits)
    count = read_whole(fields, top) or len(texts)
    if count < 0:
        raise InvalidInput(f"{top} is {count}; give 1 or more, or leave it out", param=top)
    ranked, result = await rank_texts(ask.asked, query, texts, read_model(fields), documents)
    return ranked[:count], result


def read_model(fields: Fields) -> str | None:
    """The model that a client names; null and absent are the service's default."""
    return None if fields.get("model") is None else read_text(fields, "model")


def read_switch(fields: Fields, names: Sequence[str], default: bool) -> bool:
    """The first of `names` that is given; clients of different age spell one switch differently.

    Raises:
        InvalidInput: it is no boolean.
    """
    for name in names:
        value = fields.get(name)
        if isinstance(value, bool):
            return value
        if value is not None:
            raise InvalidInput(f"{name} is neither true nor false; give one of them", param=name)
    return default


def refuse(fields: Fields, reasons: dict[str, str]) -> None:
    """Refuse fields that would change a score and cannot be honoured.

    Args:
        reasons: what to do instead, by name; null, false and empty values are as good as absent.

    Raises:
        InvalidInput: one of them is given.
    """
    for name, remedy in reasons.items():
        if fields.get(name):
            raise InvalidInput(f"{name} cannot be honoured; {remedy}", param=name)


def _document(value: object, path: str) -> str:
    if isinstance(value, dict):
        return read_string(value.get("text"), f"{path}.text")
    return read_string(value, path)
