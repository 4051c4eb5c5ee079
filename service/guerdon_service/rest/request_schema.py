"""Shapes of requests, for the OpenAPI document alone: `decode.py` is what reads them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from guerdon_service.core.call import MAX_INT32

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Positive = Annotated[int, Field(ge=1, le=MAX_INT32)]


def one_of_prompt_and_messages(schema: dict[str, Any]) -> None:
    """Say in `schema` that exactly one of the two is given."""
    null = {"type": "null"}
    schema["oneOf"] = [
        {"required": ["prompt"], "properties": {"prompt": {"type": "string"}, "messages": null}},
        {"required": ["messages"], "properties": {"messages": {"type": "array"}, "prompt": null}},
    ]


def _some_content(schema: dict[str, Any]) -> None:
    schema["anyOf"][0]["contains"] = {"properties": {"content": {"minLength": 1}}}


_REQUEST = ConfigDict(extra="forbid")
_WITH_TURNS = ConfigDict(extra="forbid", json_schema_extra=one_of_prompt_and_messages)


class Message(BaseModel):
    """One turn before the response."""

    model_config = _REQUEST
    role: Literal["system", "user", "assistant", "tool"]
    content: str


Prompt = Annotated[Text | None, Field(description="One user turn; give it or `messages`.")]
Messages = Annotated[
    list[Message] | None,
    Field(description="The turns before the response, not all empty.", json_schema_extra=_some_content),
]


class ScoreItem(BaseModel):
    """A conversation whose response is scored."""

    model_config = _WITH_TURNS
    prompt: Prompt = None
    messages: Messages = None
    response: Text


class Pair(BaseModel):
    """Two responses to one prompt."""

    model_config = _WITH_TURNS
    prompt: Prompt = None
    messages: Messages = None
    a: Text
    b: Text


class _Options(BaseModel):
    """What every verb may say besides its data."""

    model: str | None = Field(None, description="Name of a loaded model; none is the default model.")
    profile: str | None = Field(None, description="Named head weights; none is the model's default profile.")
    lane: Literal["interactive", "bulk", ""] | None = Field(None, description="Queue lane: interactive.")
    deadline_ms: Positive | None = Field(None, description="When the answer is no longer wanted, in ms.")


class ScoreRequest(_Options):
    """Conversations to score, each on its own."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"items": [{"prompt": "What is 2 + 2?", "response": "4."}]},
                {
                    "items": [
                        {
                            "messages": [
                                {"role": "system", "content": "Be brief."},
                                {"role": "user", "content": "Name a prime."},
                            ],
                            "response": "7.",
                        }
                    ],
                    "lane": "bulk",
                    "deadline_ms": 20000,
                },
            ]
        },
    )
    items: list[ScoreItem] = Field(min_length=1)


class CompareRequest(_Options):
    """Pairs of responses to compare."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"pairs": [{"prompt": "What is 2 + 2?", "a": "4.", "b": "I think it is 5."}]}]
        },
    )
    pairs: list[Pair] = Field(min_length=1)


def _rank_schema(schema: dict[str, Any]) -> None:
    one_of_prompt_and_messages(schema)
    schema["examples"] = [{"prompt": "What is 2 + 2?", "candidates": ["4.", "5.", "It depends."], "top_k": 2}]


class RankRequest(_Options):
    """Candidates that answer one prompt."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_rank_schema)
    prompt: Prompt = None
    messages: Messages = None
    candidates: list[Text] = Field(min_length=1)
    top_k: Positive | None = Field(None, description="Keep the best so many.")


def _source_or_members(schema: dict[str, Any]) -> None:
    null = {"type": "null"}
    schema["oneOf"] = [
        {"required": ["source"], "properties": {"source": {"type": "string"}, "members": null}},
        {"required": ["members"], "properties": {"members": {"type": "array"}, "source": null}},
    ]
    schema["examples"] = [{"name": "reward", "source": "org/name@revision", "dtype": "bfloat16"}]


class ModelSpec(BaseModel):
    """A model to load: from a source, or as an ensemble of loaded models."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_source_or_members)
    name: Name
    source: str | None = Field(None, description="A folder, or a hub id `org/name` or `org/name@revision`.")
    backend: str | None = Field(None, description="torch or onnxruntime.")
    dtype: str | None = Field(None, description="float32, bfloat16, float16 or int8.")
    device: str | None = Field(None, description="cpu or cuda.")
    members: Annotated[list[Name], Field(min_length=2, json_schema_extra={"uniqueItems": True})] | None = (
        Field(None, description="Loaded models whose mean this one is.")
    )
    conservatism: float | None = Field(None, description="k of an ensemble's mean - k * std.")
