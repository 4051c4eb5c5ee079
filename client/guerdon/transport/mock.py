"""A transport without a wire, for users' tests."""

import inspect
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from guerdon.errors import InvalidInput
from guerdon.transport.base import NAMED_PARTS, Payload, Verb

Handler = Callable[[Verb, Payload], Payload | Awaitable[Payload]]
Reward = Callable[[Any, str], float]


class MockTransport:
    """Answers with a function: ``Client(MockTransport(handler))``.

    Args:
        handler: is given the verb and the request as REST's JSON, returns the reply as REST's JSON, or
            raises a `GuerdonError`. May be ``async``. `reward_handler` makes one from a plain reward.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        """See `Transport.call`."""
        reply = self._handler(verb, payload)
        return await reply if inspect.isawaitable(reply) else reply

    async def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        """See `Transport.stream`: a reply with named parts in parts, any other as the only part."""
        reply = await self.call(verb, payload, math.inf if timeout_s is None else timeout_s)
        if verb in NAMED_PARTS:
            for candidate in reply.get("candidates", ()):
                yield {"candidate": candidate}
            yield {"result": reply}
        else:
            yield reply

    async def close(self) -> None:
        """Nothing to close."""


def reward_handler(reward: Reward) -> Callable[[Verb, Payload], Payload]:
    """A handler that answers score, compare, rank and models as a service with this reward would.

    Args:
        reward: ``reward(prompt, response)``; `prompt` is a string, or the list of message dicts.
    """

    def handle(verb: Verb, payload: Payload) -> Payload:
        if verb == "score":
            scores = [_score(reward, item, item["response"]) for item in payload["items"]]
            return _reply("scores", scores, len(scores))
        if verb == "compare":
            pairs = [_preference(reward, pair) for pair in payload["pairs"]]
            return _reply("preferences", pairs, 2 * len(pairs))
        if verb == "rank":
            ranked = _ranked(reward, payload)
            return _reply("results", ranked[: payload.get("top_k")], len(ranked))
        if verb == "models":
            return {"models": [_INFO]}
        raise InvalidInput(f"reward_handler does not answer {verb}; give MockTransport a handler that does")

    return handle


_MODEL = {
    "name": "mock",
    "version": "1",
    "digest": "0" * 64,
    "profile": "default",
    "backend": "fake",
    "dtype": "float32",
}
_INFO = {k: v for k, v in _MODEL.items() if k != "profile"} | {
    "heads": ["reward"],
    "profiles": ["default"],
    "max_tokens": 512,
    "state": "ready",
    "default": True,
    "inferred": [],
}


def _reply(field: str, answers: list[Payload], num_items: int) -> Payload:
    times = dict.fromkeys(("tokenize_ms", "queue_ms", "forward_ms", "total_ms"), 0.0)
    usage = {"items": num_items, "tokens": 8 * num_items, "cached": 0} | times
    return {"model": _MODEL, field: answers, "usage": usage, "request_id": "mock"}


def _score(reward: Reward, asked: Payload, response: str) -> Payload:
    value = reward(asked["prompt"] if "prompt" in asked else asked["messages"], response)
    heads = {"reward": value}
    flags = {"tokens": 8, "truncated": False, "cached": False}
    return {"reward": value, "attributes": heads, "raw": heads, "std": 0.0} | flags


def _preference(reward: Reward, pair: Payload) -> Payload:
    a, b = _score(reward, pair, pair["a"]), _score(reward, pair, pair["b"])
    margin = a["reward"] - b["reward"]
    p_a = 1.0 / (1.0 + math.exp(-margin))
    preferred = "tie" if margin == 0 else ("a" if margin > 0 else "b")
    chances = {"p_a": p_a, "low": p_a, "high": p_a}
    return chances | {"margin": margin, "preferred": preferred, "a": a, "b": b}


def _ranked(reward: Reward, payload: Payload) -> list[Payload]:
    scores = [_score(reward, payload, text) for text in payload["candidates"]]
    top = max(s["reward"] for s in scores)
    weights = [math.exp(s["reward"] - top) for s in scores]
    return [
        {
            "index": i,
            "reward": scores[i]["reward"],
            "p_best": weights[i] / sum(weights),
            "std": 0.0,
            "score": scores[i],
        }
        for i in sorted(range(len(scores)), key=lambda i: -scores[i]["reward"])
    ]
