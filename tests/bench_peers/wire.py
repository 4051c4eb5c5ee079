"""How each server is asked and how it answers: HTTP bodies from items, scores from replies."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guerdon_service.app.bench.texts import Item

Text = Callable[[Item], str]
"""An item as the one text that a model without pairs reads: its chat template, or two lines."""
Encoding = Literal["pair", "text"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A server's dialect.

    encoding: what its model reads: prompt and response as a tokenizer pairs them, or one text.
    bodies: HTTP bodies of items that share a prompt; where a server takes one item a call, one for each.
    scores: of one reply, in the order of its items.
    """

    path: str
    encoding: Encoding
    bodies: Callable[[Sequence[Item], Text], list[bytes]]
    scores: Callable[[Any], list[float]]
    path_of_many: str = ""
    """Where several items go, if elsewhere."""


def _guerdon_bodies(items: Sequence[Item], _: Text) -> list[bytes]:
    if len(items) > 1:
        candidates = [i.response for i in items]
        return [json.dumps({"prompt": items[0].prompt, "candidates": candidates}).encode()]
    return [json.dumps({"items": [{"prompt": i.prompt, "response": i.response} for i in items]}).encode()]


def _guerdon_scores(reply: Any) -> list[float]:
    if "results" in reply:
        return [r["reward"] for r in sorted(reply["results"], key=lambda r: r["index"])]
    return [s["reward"] for s in reply["scores"]]


def _by_index(reply: Any) -> list[float]:
    return [r["relevance_score"] for r in sorted(reply["results"], key=lambda r: r["index"])]


def _rerank_bodies(items: Sequence[Item], _: Text) -> list[bytes]:
    documents = [i.response for i in items]
    return [json.dumps({"query": items[0].prompt, "documents": documents, "raw_scores": True}).encode()]


def _classify_bodies(items: Sequence[Item], text: Text) -> list[bytes]:
    body = {"model": "m", "input": [text(i) for i in items], "use_activation": False}
    return [json.dumps(body).encode()]


GUERDON = Wire("/v1/score", "pair", _guerdon_bodies, _guerdon_scores, "/v1/rank")
GUERDON_CHAT = Wire("/v1/score", "text", _guerdon_bodies, _guerdon_scores, "/v1/rank")
"""The same; a model with a chat template reads one text."""
NAIVE = Wire(
    "/score",
    "text",
    lambda items, text: [json.dumps({"text": text(i)}).encode() for i in items],
    lambda reply: [reply["score"]],
)
LITSERVE = Wire("/predict", "text", NAIVE.bodies, NAIVE.scores)
INFINITY = Wire("/rerank", "pair", _rerank_bodies, _by_index)
VLLM = Wire("/classify", "text", _classify_bodies, lambda reply: [d["probs"][0] for d in reply["data"]])
OPENRLHF = Wire(
    "/get_reward",
    "text",
    lambda items, text: [json.dumps({"query": [text(i) for i in items]}).encode()],
    lambda reply: list(reply["rewards"]),
)
