"""The seams: what the engine and the scoring layer ask of adapters. All Protocols."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded

RawScores = NDArray[np.float32]
"""float32 [num_heads]: head outputs of one conversation, untouched."""


class Encoder(Protocol):
    """Text to tokens for one model. Called from several threads at once."""

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        """Render the template, tokenize, truncate the prompt on the left.

        Args:
            param: path of the response's field in the request, e.g. ``items[3].response``, used as it
                stands in errors.

        Raises:
            InputTooLong: the response alone does not fit the model.
        """
        ...


@dataclass(frozen=True, slots=True)
class ForwardStats:
    """What one forward computed: `num_tokens` asked for, `num_computed` rows pushed through."""

    num_tokens: int
    num_computed: int


class Backend(Protocol):
    """A loaded model. Only one of the engine's threads calls `forward`; see `ParallelBackend` for several."""

    @property
    def name(self) -> str:
        """``torch``, ``onnxruntime`` or ``fake``."""
        ...

    @property
    def dtype(self) -> str:
        """``float32``, ``bfloat16``, ``float16`` or ``int8``."""
        ...

    @property
    def num_heads(self) -> int:
        """H of the forward's output."""
        ...

    @property
    def shares_prefix(self) -> bool:
        """True when items with equal prompt tokens in one batch compute them once."""
        ...

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        """Score a batch: float32 [B, H], row i for ``batch[i]``, and what it cost.

        Row i depends on ``batch[i]`` alone, bit for bit.
        """
        ...

    def close(self) -> None:
        """Free the weights."""
        ...


@runtime_checkable
class ParallelBackend(Backend, Protocol):
    """A back end in this process whose `forward` several threads may call at once."""

    @property
    def num_parallel(self) -> int:
        """How many forwards should run side by side, each on its part of the cores; more may."""
        ...


@runtime_checkable
class MachineBackend(Backend, Protocol):
    """A back end whose scores may differ in their last bits where something else computes them."""

    @property
    def arithmetic(self) -> str:
        """Library, its version and the processor's kind: what has the same here gives the same bits."""
        ...


def arithmetic_of(backend: Backend) -> str:
    """What computes its scores; empty where that is of no account."""
    return backend.arithmetic if isinstance(backend, MachineBackend) else ""


class ProcessDied(Exception):
    """Raised by `ProcessBackend.forward`: a process ended, or had to be ended, before it answered."""


@runtime_checkable
class ProcessBackend(Backend, Protocol):
    """A back end in processes of its own, which may die and are started again.

    As many threads as it has processes may call `forward` at once; `close` may be called at any time.
    """

    @property
    def num_processes(self) -> int:
        """How many there should be."""
        ...

    @property
    def num_live(self) -> int:
        """How many can take a batch now, or are at work on one."""
        ...

    def processes(self) -> Sequence[Mapping[str, Any]]:
        """What whoever is on call wants to know of each."""
        ...

    def watch(self, changed: Callable[[int, bool], None]) -> None:
        """Call `changed` now and, from any thread, with each change: how many live, and whether one was
        started again.
        """
        ...


class Cache(Protocol):
    """Raw scores by fingerprint. Never raises: an outage is a miss."""

    def at_hand(self, keys: Sequence[bytes], num_heads: int) -> list[RawScores] | None:
        """As `get_many` where every key is known without waiting; else None, and nothing is counted."""
        ...

    async def get_many(self, keys: Sequence[bytes], num_heads: int) -> list[RawScores | None]:
        """One entry per key; None where unknown, unreadable or not `num_heads` long."""
        ...

    def put_many(self, items: Sequence[tuple[bytes, RawScores]]) -> None:
        """Store without waiting."""
        ...

    async def close(self) -> None:
        """Flush what can be flushed within a second, then let go."""
        ...


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One forward, as the engine saw it. Times in seconds.

    num_running: forwards under way when it ended, itself included.
    """

    num_items: int
    num_tokens: int
    num_computed: int
    forward_s: float
    failed: bool
    num_running: int = 1


class Observer(Protocol):
    """Where measurements go; implemented by the app's Prometheus metrics, and by `NullObserver`."""

    def batch(self, model: str, report: BatchReport) -> None:
        """A forward ended."""
        ...

    def queued(self, model: str, num_items: int, num_tokens: int) -> None:
        """The queue's length changed."""
        ...

    def tokenized(self, model: str, num_items: int, tokenize_s: float) -> None:
        """Items were encoded."""
        ...

    def cache(self, layer: str, outcome: str, count: int) -> None:
        """`layer` is ``l1`` or ``redis``; `outcome` ``hit``, ``miss``, ``error``, ``skipped``, ``stored``."""
        ...

    def refused(self, model: str, code: str) -> None:
        """A request was refused with the error `code`."""
        ...

    def model_ready(self, model: str, is_ready: Callable[[], bool]) -> None:
        """Loading a model has ended; whether it answers is asked whenever somebody wants to know."""
        ...

    def engine_processes(self, model: str, num_live: int, restarted: bool) -> None:
        """So many processes of a `ProcessBackend` live now; `restarted`: one was started again."""
        ...

    def model_unloaded(self, model: str, reference: str) -> None:
        """A model was let go on purpose, `reference` being its ``NAME@VERSION``: its measurements end."""
        ...

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[None]:
        """Time the body as a span of the request's trace, where tracing is on."""
        ...


class NullObserver:
    """Observes nothing."""

    def batch(self, model: str, report: BatchReport) -> None:
        """Ignore."""

    def queued(self, model: str, num_items: int, num_tokens: int) -> None:
        """Ignore."""

    def tokenized(self, model: str, num_items: int, tokenize_s: float) -> None:
        """Ignore."""

    def cache(self, layer: str, outcome: str, count: int) -> None:
        """Ignore."""

    def refused(self, model: str, code: str) -> None:
        """Ignore."""

    def model_ready(self, model: str, is_ready: Callable[[], bool]) -> None:
        """Ignore."""

    def engine_processes(self, model: str, num_live: int, restarted: bool) -> None:
        """Ignore."""

    def model_unloaded(self, model: str, reference: str) -> None:
        """Ignore."""

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[None]:
        """Time nothing."""
        return nullcontext()
