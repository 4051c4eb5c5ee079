"""Reward functions for TRL's trainers (`GRPOTrainer` and those that call rewards as it does).

::

    GRPOTrainer(model, reward_funcs=reward_func("http://localhost:8080"), ...)
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from statistics import fmean
from typing import Any, TypeVar

from guerdon.client import AsyncClient, Client
from guerdon.errors import InvalidInput
from guerdon.types import Item, Score, ScoreResult

Turns = Sequence[Mapping[str, Any]]
Text = str | Turns
"""What TRL gives: plain text, or messages where its data set is conversational."""
LogMetric = Callable[[str, float], object]
Rewards = list[float | None]
F = TypeVar("F", bound=Callable[..., Any])


def reward_func(
    target: str | Client,
    *,
    model: str | None = None,
    profile: str | None = None,
    name: str = "guerdon",
) -> Callable[..., Rewards]:
    """A reward function that scores a whole batch in one call.

    An empty completion cannot be scored: its reward is None, which TRL leaves out of the mean. Logs, as
    averages over the batch: each attribute, the members' spread ``std``, and the shares ``truncated`` and
    ``unscored``.

    Args:
        target: a service's URL, asked over a connection of its own each time, or a `Client`, which may hold
            an API key and keeps its connections.
        model: ``NAME@VERSION`` keeps one version for the whole run; None is the service's default.
        profile: named head weights; None is the model's default.
        name: of the function in TRL's logs.

    Raises:
        GuerdonError: the function does, once the client's own retries have ended.
    """

    def reward(
        prompts: Sequence[Text],
        completions: Sequence[Text],
        log_metric: LogMetric | None = None,
        **columns: object,
    ) -> Rewards:
        items = _items(prompts, completions)
        asked = [item for item in items if item is not None]
        with Client(target) if isinstance(target, str) else nullcontext(target) as client:
            result = client.score(asked, model=model, profile=profile, lane="bulk") if asked else None
        return _rewards(items, result, name, log_metric)

    return _named(reward, name)


def async_reward_func(
    target: str | AsyncClient,
    *,
    model: str | None = None,
    profile: str | None = None,
    name: str = "guerdon",
) -> Callable[..., Awaitable[Rewards]]:
    """The same as a coroutine function: TRL awaits all of those at once. Arguments as in `reward_func`."""

    async def reward(
        prompts: Sequence[Text],
        completions: Sequence[Text],
        log_metric: LogMetric | None = None,
        **columns: object,
    ) -> Rewards:
        items = _items(prompts, completions)
        asked = [item for item in items if item is not None]
        async with AsyncClient(target) if isinstance(target, str) else nullcontext(target) as client:
            result = await client.score(asked, model=model, profile=profile, lane="bulk") if asked else None
        return _rewards(items, result, name, log_metric)

    return _named(reward, name)


def _items(prompts: Sequence[Text], completions: Sequence[Text]) -> list[Item | None]:
    return [_item(p, c) for p, c in zip(prompts, completions, strict=True)]


def _item(prompt: Text, completion: Text) -> Item | None:
    """None for an empty completion."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [_turn(t) for t in prompt]
    if isinstance(completion, str):
        return Item(turns, completion) if completion else None
    added = [_turn(turn) for turn in completion]
    if not added or added[-1]["role"] != "assistant":
        raise InvalidInput("completions hold one that does not end with the assistant; add its turn")
    *between, last = added
    return Item([*turns, *between], last["content"]) if last["content"] else None


def _turn(turn: Mapping[str, Any]) -> dict[str, str]:
    """Role and text of a message; parts of text are joined, and whatever else it holds is left out."""
    content = turn.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or "" for part in content)
    return {"role": turn["role"], "content": content}


def _rewards(
    items: Sequence[Item | None], result: ScoreResult | None, name: str, log_metric: LogMetric | None
) -> Rewards:
    scores = result.scores if result else ()
    if log_metric is not None:
        for metric, value in _metrics(scores, len(items)).items():
            log_metric(f"{name}/{metric}", value)
    rewards = iter(score.reward for score in scores)
    return [None if item is None else next(rewards) for item in items]


def _metrics(scores: Sequence[Score], num_items: int) -> dict[str, float]:
    told = {"unscored": 1 - len(scores) / num_items} if num_items else {}
    if scores:
        told |= {key: fmean(s.attributes[key] for s in scores) for key in scores[0].attributes}
        told |= {"std": fmean(s.std for s in scores), "truncated": fmean(s.truncated for s in scores)}
    return told


def _named(function: F, name: str) -> F:
    function.__name__ = name
    return function
