"""What will happen in one history: drawn before it begins, so that it can be read."""

import random
from dataclasses import dataclass

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import Lane

HORIZON_S = 10.0
PATIENT_S = 1000.0
"""More than all the work of a history takes, unless a forward hangs."""
VERSIONS = ("1", "2", "3")
BROKEN = "9"
"""A version whose artifact is refused."""
POISON, NOT_FINITE = "☠", "∞"
"""Responses that hold one of them make a forward raise, or give NaN."""


@dataclass(frozen=True)
class Ask:
    """One request."""

    number: int
    at_s: float
    items: tuple[Conversation, ...]
    lane: Lane
    tenant: str
    deadline_s: float
    cancel_after_s: float | None

    @property
    def is_clean(self) -> bool:
        """Whether nothing in it can make the back end fail."""
        return not any(mark in item.response for item in self.items for mark in (POISON, NOT_FINITE))


@dataclass(frozen=True)
class Promotion:
    """Load a version where it is not loaded, and point the champion at it; later unload the old one."""

    at_s: float
    version: str
    unload_after_s: float | None


@dataclass(frozen=True)
class Faults:
    """How the back end misbehaves, besides on poisoned items.

    max_tokens: a forward of more of them runs out of memory, unless it is of one item.
    misshapen_share: of forwards of several items, how many give too few, too many or too wide rows.
    hang_share: of forwards, how many take a minute.
    dies_at_s: when the thread of a back end that is used ends itself.
    """

    max_tokens: int
    misshapen_share: float
    hang_share: float
    dies_at_s: float


@dataclass(frozen=True)
class Plan:
    limits: Limits
    cache_bytes: int
    shares_prefix: bool
    forward_s: float
    asks: tuple[Ask, ...]
    promotions: tuple[Promotion, ...]
    faults: Faults
    close_at_s: float | None
    """When the service is closed with requests under way; None: when all are answered."""
    hiccup_share: float
    """Of the clock's readings, how many take `world.HICCUP_S`, as of a thread that lost its processor."""
    num_parallel: int
    """Forwards side by side, and one more for short items if there are several."""


@dataclass(frozen=True)
class Crowd:
    """Who asks: how many, within what time, and how alike."""

    num_asks: int
    horizon_s: float
    num_prompts: int
    response_chars: tuple[int, ...]
    hurried_share: float
    greedy_share: float
    bulk_share: float


MIXED = Crowd(12, HORIZON_S, 4, (1, 2, 8, 30), 0.2, 0.6, 0.33)
SIEGE = Crowd(90, 0.5, 40, (8, 30), 0.0, 0.97, 0.05)
"""One tenant floods the interactive lane."""
ECHO = Crowd(40, 0.6, 1, (1,), 0.7, 1.0, 0.5)
"""Everybody asks the same, most of them in a hurry."""


def draw_plan(chance: random.Random) -> Plan:
    """One of the many."""
    crowd = chance.choices((MIXED, SIEGE, ECHO), (0.8, 0.1, 0.1))[0]
    budget = chance.choice((16, 32, 64, 128))
    horizon_s = crowd.horizon_s / chance.choice((0.3, 1.0, 3.0))
    num_asks = chance.randint(1, 2 * crowd.num_asks)
    prompts = [_text(chance, chance.randint(1, 20)) for _ in range(crowd.num_prompts)]
    return Plan(
        limits=Limits(max_batch_tokens=budget, max_queued_tokens=chance.choice((60, 300, 100_000, 100_000))),
        cache_bytes=chance.choice((0, 2_000, 1_000_000)),
        shares_prefix=chance.random() < 0.5,
        forward_s=chance.choice((0.001, 0.05, 0.3)),
        asks=tuple(_ask(chance, n, horizon_s, prompts, crowd) for n in range(num_asks)),
        promotions=tuple(_promotion(chance, horizon_s) for _ in range(chance.randint(0, 4))),
        faults=_faults(chance, budget, horizon_s),
        close_at_s=chance.uniform(0, horizon_s) if chance.random() < 0.2 else None,
        hiccup_share=chance.choice((0.0, 0.0, 0.02)),
        num_parallel=chance.choice((1, 1, 2, 3)),
    )


def _ask(chance: random.Random, number: int, horizon_s: float, prompts: list[str], crowd: Crowd) -> Ask:
    is_hurried = chance.random() < crowd.hurried_share
    is_greedy = chance.random() < crowd.greedy_share
    num_items = chance.choice((1, 1, 1, 2, 5, 12))
    return Ask(
        number=number,
        at_s=chance.uniform(0, horizon_s),
        items=tuple(
            _item(chance, prompts, crowd.response_chars) for _ in range(num_items if is_greedy else 1)
        ),
        lane=Lane.BULK if chance.random() < crowd.bulk_share else Lane.INTERACTIVE,
        tenant="greedy" if is_greedy else chance.choice(("", "small")),
        deadline_s=chance.uniform(0.001, 2.0) if is_hurried else chance.uniform(PATIENT_S, 2 * PATIENT_S),
        cancel_after_s=chance.expovariate(1.0) if chance.random() < 0.2 else None,
    )


def _item(chance: random.Random, prompts: list[str], response_chars: tuple[int, ...]) -> Conversation:
    mark = chance.choice((POISON, NOT_FINITE)) if chance.random() < 0.03 else ""
    return Conversation.of(chance.choice(prompts), _text(chance, chance.choice(response_chars)) + mark)


def _text(chance: random.Random, length: int) -> str:
    return "".join(chance.choice("abc") for _ in range(length))


def _promotion(chance: random.Random, horizon_s: float) -> Promotion:
    return Promotion(
        at_s=chance.uniform(0, horizon_s),
        version=chance.choice((*VERSIONS, *VERSIONS, BROKEN)),
        unload_after_s=chance.uniform(0, 2.0) if chance.random() < 0.3 else None,
    )


def _faults(chance: random.Random, budget: int, horizon_s: float) -> Faults:
    return Faults(
        max_tokens=chance.choice((budget // 2, 10 * budget, 10 * budget)),
        misshapen_share=chance.choice((0.0, 0.0, 0.2)),
        hang_share=chance.choice((0.0, 0.0, 0.05)),
        dies_at_s=chance.uniform(0, horizon_s) if chance.random() < 0.05 else float("inf"),
    )
