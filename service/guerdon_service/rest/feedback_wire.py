"""JSON to a `Feedback`, and its id back."""

from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.feedback import Feedback
from guerdon_service.rest.fields import (
    TURNS,
    Fields,
    read_flag,
    read_list,
    read_name,
    read_object,
    read_string,
    read_text,
    read_turns,
)
from guerdon_service.rest.render import dump

_KNOWN = TURNS | {"id", "chosen", "rejected", "tie", "annotator", "tags", "shown", "model"}


def decode_feedback(value: object, call: Call) -> Feedback:
    """``{prompt | messages, chosen, rejected, id?, tie?, annotator?, tags?, shown?, model?}``."""
    fields = read_object(value, _KNOWN, "")
    return Feedback(
        id=read_name(fields, "id") or "",
        prompt=read_turns(fields, ""),
        chosen=read_text(fields, "chosen"),
        rejected=read_text(fields, "rejected"),
        is_tie=read_flag(fields, "tie"),
        tenant=call.by,
        annotator=read_name(fields, "annotator") or "",
        at=0.0,
        tags=_tags(fields),
        shown=() if fields.get("shown") is None else tuple(read_list(fields, "shown", read_string)),
        model=read_name(fields, "model") or "",
    )


def render_feedback(feedback: Feedback) -> bytes:
    """``{id}``."""
    return dump({"id": feedback.id})


def _tags(fields: Fields) -> dict[str, str]:
    tags = fields.get("tags")
    if tags is None:
        return {}
    if not isinstance(tags, dict):
        raise InvalidInput("tags is not an object; give an object of strings", param="tags")
    return {key: read_string(value, f"tags.{key}") for key, value in tags.items()}
