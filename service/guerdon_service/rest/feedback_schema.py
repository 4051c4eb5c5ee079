"""Shapes of feedback, for the OpenAPI document alone: `feedback_wire.py` reads and writes them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from guerdon_service.rest.evaluation_schema import Figure
from guerdon_service.rest.request_schema import Messages, Prompt, Text, one_of_prompt_and_messages


def _schema(schema: dict[str, Any]) -> None:
    one_of_prompt_and_messages(schema)
    schema["examples"] = [
        {
            "prompt": "How do I boil an egg?",
            "chosen": "Seven minutes in boiling water, then cold water.",
            "rejected": "Eggs are food.",
            "annotator": "ann",
            "tags": {"language": "en"},
        }
    ]


class FeedbackRequest(BaseModel):
    """`chosen` was preferred to `rejected`, or neither when `tie`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_schema)
    id: str | None = Field(None, description="None: the service makes one; the same id is kept once.")
    prompt: Prompt = None
    messages: Messages = None
    chosen: Text
    rejected: Text
    tie: bool | None = None
    annotator: str | None = Field(None, description="Who judged, as the caller names people.")
    tags: dict[str, str] | None = None
    shown: Annotated[list[Text], Field(description="Both texts in their order on the screen.")] | None = None
    model: str | None = Field(None, description="NAME@VERSION whose scores were behind what was shown.")


class Agreement(BaseModel):
    """Of the questions (a prompt and two texts) that two or more judgements are about."""

    num_questions: int
    alpha: Figure | None = Field(description="Krippendorff's, ordinal; null without such questions.")
    accuracy: dict[str, float] = Field(
        description="By annotator: probability of the true label (Dawid and Skene)."
    )
    num_judgements: dict[str, int] = Field(description="By annotator.")


class FeedbackResponse(BaseModel):
    """Under which id it is kept."""

    id: str
