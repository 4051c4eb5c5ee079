"""vLLM's pooling routes.

The activation is on unless it is switched off, as there: without ``"activation": false`` (or
``use_activation``, ``softmax``) a reward comes back as its sigmoid.
"""

import base64
import struct
import time
from http import HTTPStatus

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.result import ScoreResult
from guerdon_service.dialects.markup import of_pair, of_text, without_end
from guerdon_service.dialects.ranked import Ranked, responses_to, sigmoid
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.relevance import rank_documents, read_model, read_switch, refuse
from guerdon_service.rest.fields import Fields, read_list, read_string, read_text, read_turns

_ACTIVATION = ("use_activation", "activation", "softmax")
_SIDES = (("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2"), ("queries", "items"))
_REFUSED = {
    "dimensions": "a reward is one number, leave it out",
    "chat_template": "the model's own template is used, leave it out",
}


async def classify(ask: Ask) -> object:
    """``{model, input | messages, activation}`` to ``data[i].probs``, one number each."""
    values, result = await _pooled(ask, ask.fields())
    data = [
        {"index": i, "label": "LABEL_0", "probs": [value], "num_classes": 1} for i, value in enumerate(values)
    ]
    return _reply(ask, "classify", result, data)


async def pooling(ask: Ask) -> object:
    """``{model, input | messages, task?, encoding_format?}`` to ``data[i].data``, one number each."""
    fields = ask.fields()
    if fields.get("task") not in (None, "classify"):
        raise InvalidInput("task is not classify; a reward model does nothing else here", param="task")
    values, result = await _pooled(ask, fields)
    data = [
        {"index": i, "object": "pooling", "data": encoded(fields, value)} for i, value in enumerate(values)
    ]
    return _reply(ask, "pool", result, data)


async def score(ask: Ask) -> object:
    """Two lists, or a text and a list, to ``data[i].score``: the second text answers the first."""
    fields = ask.fields()
    refuse(fields, _REFUSED)
    result = await ask.score(_pairs(fields, ask.asked.limits), read_model(fields))
    values = _activated(fields, result)
    data = [{"index": i, "object": "score", "score": value} for i, value in enumerate(values)]
    return _reply(ask, "score", result, data)


async def rerank(ask: Ask) -> object:
    """``{model, query, documents, top_n?}`` to ``results``, best first."""
    fields = ask.fields()
    refuse(fields, _REFUSED)
    ranked, result = await rank_documents(ask, fields)
    activate = read_switch(fields, _ACTIVATION, default=True)
    return {
        "id": f"rerank-{ask.asked.call.request_id}",
        "model": result.model.name,
        "usage": _usage(result),
        "results": [_document(document, activate) for document in ranked],
    }


async def tokenize(ask: Ask) -> object:
    """``{model, prompt | messages}`` to the ids that the conversation is scored from."""
    fields = ask.fields()
    refuse(fields, _REFUSED | {"return_token_strs": "only ids are given, leave it out"})
    if fields.get("messages") is None:
        read_text(fields, "prompt")  # one text, unlike the other routes' lists
    item = _conversations(fields, "prompt", ask.asked.limits)[0]
    tokens, max_tokens = await ask.asked.token_ids(item, read_model(fields))
    return {"count": len(tokens), "max_model_len": max_tokens, "tokens": tokens, "token_strs": None}


def error(error: GuerdonError, status: int, message: str) -> object:
    """``{error: {message, type, param, code}}``."""
    return {"error": {"message": message, "type": error_type(status), "param": error.param, "code": status}}


def error_type(status: int) -> str:
    """``BadRequestError`` and the like."""
    return HTTPStatus(status).phrase.replace(" ", "").removesuffix("Error") + "Error"


def read_texts(fields: Fields, key: str, limits: Limits) -> list[str]:
    """A text or a list of texts; token ids are refused, and more texts than one request may hold."""
    value = fields.get(key)
    if isinstance(value, list) and any(not isinstance(text, str) for text in value):
        raise InvalidInput(f"{key} holds token ids; send text, which is tokenized here", param=key)
    given: Fields = {key: [value]} if isinstance(value, str) else fields
    return read_list(given, key, read_string, limits=limits)


def encoded(fields: Fields, value: float) -> object:
    """One number as ``encoding_format`` asks: ``[value]``, or its float32 bytes in base64."""
    asked = fields.get("encoding_format") or "float"
    if asked not in ("float", "base64"):
        raise InvalidInput("encoding_format is unknown; give float or base64", param="encoding_format")
    return [value] if asked == "float" else base64.b64encode(struct.pack("<f", value)).decode()


async def _pooled(ask: Ask, fields: Fields) -> tuple[list[float], ScoreResult]:
    refuse(fields, _REFUSED)
    items = _conversations(fields, "input", ask.asked.limits)
    result = await ask.score(items, read_model(fields))
    return _activated(fields, result), result


def _conversations(fields: Fields, key: str, limits: Limits) -> list[Conversation]:
    """Of `messages`, or of the texts at `key`."""
    if fields.get("messages") is None:
        return [of_text(text, f"{key}[{i}]") for i, text in enumerate(read_texts(fields, key, limits))]
    turns = read_turns({"messages": fields["messages"]}, "")
    if not turns or turns[-1].role != "assistant":
        raise InvalidInput("messages do not end with the assistant's turn; add it", param="messages")
    return [Conversation(turns[:-1], without_end(turns[-1].content))]


def _activated(fields: Fields, result: ScoreResult) -> list[float]:
    rewards = [score.reward for score in result.scores]
    return [sigmoid(r) for r in rewards] if read_switch(fields, _ACTIVATION, default=True) else rewards


def _pairs(fields: Fields, limits: Limits) -> list[Conversation]:
    """Of two lists of texts, or of a text and a list."""
    for first, second in _SIDES:
        if fields.get(first) is not None and fields.get(second) is not None:
            firsts, seconds = read_texts(fields, first, limits), read_texts(fields, second, limits)
            if len(firsts) == 1:
                return responses_to(firsts[0], seconds, limits, (first, second))
            if len(firsts) != len(seconds):
                raise InvalidInput(
                    f"{first} holds {len(firsts)} texts and {second} {len(seconds)}; send one or as many",
                    param=first,
                )
            pairs = enumerate(zip(firsts, seconds, strict=True))
            return [of_pair(a, b, f"{second}[{i}]") for i, (a, b) in pairs]
    raise InvalidInput("queries is missing; send queries and documents", param="queries")


def _document(document: Ranked, activate: bool) -> object:
    return {
        "index": document.index,
        "document": {"text": document.text},
        "relevance_score": sigmoid(document.reward) if activate else document.reward,
    }


def _reply(ask: Ask, kind: str, result: ScoreResult, data: list[dict[str, object]]) -> object:
    return {
        "id": f"{kind}-{ask.asked.call.request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": result.model.name,
        "data": data,
        "usage": _usage(result),
    }


def _usage(result: ScoreResult) -> dict[str, object]:
    tokens = result.usage.num_tokens
    return {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}


VLLM = Dialect(
    (
        DialectRoute("POST", "/classify", classify),
        DialectRoute("POST", "/pooling", pooling),
        DialectRoute("POST", "/score", score),
        DialectRoute("POST", "/v1/score", score),
        DialectRoute("POST", "/rerank", rerank),
        DialectRoute("POST", "/v1/rerank", rerank),
        DialectRoute("POST", "/v2/rerank", rerank),
        DialectRoute("POST", "/tokenize", tokenize),
    ),
    error,
)
