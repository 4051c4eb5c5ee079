r"""HH-RLHF: two whole transcripts, ``\n\nHuman: ... \n\nAssistant: ...``, in `chosen` and `rejected`."""

import re
from collections.abc import Iterable
from typing import Any

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.messages import split_response
from guerdon_training.convert.side_pair import SidePair
from guerdon_training.convert.source_row import Place, SourceRow

_TURN = re.compile(r"\n\n(Human|Assistant): ?")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {role: name for name, role in _ROLES.items()}


def is_transcript(value: Any) -> bool:
    """Whether a value looks like a transcript of this format."""
    return isinstance(value, str) and _TURN.match(value) is not None


def parse_transcript(text: str, field: str, place: Place) -> tuple[Message, ...]:
    """Turns of one transcript; text is kept as it is, less the one space after the colon.

    Raises:
        InvalidInput: the transcript does not begin with a turn marker.
    """
    if not _TURN.match(text):
        raise InvalidInput(f"{place}: {field} does not begin with '\\n\\nHuman: '; fix the line", param=field)
    parts = _TURN.split(text)  # "", name, content, name, content, ...
    return tuple(Message(_ROLES[n], c) for n, c in zip(parts[1::2], parts[2::2], strict=True))


def render_transcript(turns: Iterable[Message]) -> str:
    """The transcript of user and assistant turns."""
    return "".join(f"\n\n{_NAMES[t.role]}: {t.content}" for t in turns)


def parse_hh_rlhf(row: SourceRow) -> SidePair:
    """The comparison in one row; the response is the last assistant turn of each transcript."""
    sides = []
    for field in ("chosen", "rejected"):
        value = row.values.get(field)
        if not isinstance(value, str):
            raise InvalidInput(f"{row.place}: {field} must be a transcript; fix the line", param=field)
        sides.append(split_response(parse_transcript(value, field, row.place), field, row.place))
    (prompt, chosen), (rejected_prompt, rejected) = sides
    return SidePair(prompt, rejected_prompt, chosen, rejected)
