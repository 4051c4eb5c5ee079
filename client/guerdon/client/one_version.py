"""Keep the parts of a long call, or of a file, with the version that answered the first of them."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from guerdon.errors import NotReady, UnknownModel
from guerdon.types import ModelRef

A = TypeVar("A")


@dataclass(slots=True)
class OneVersion(Generic[A]):
    """Asks again, for the first part's version, where a canary or a promotion let another one answer.

    asked: model that the caller named; None is the service's default.
    model_of: the model of an answer.
    first: of the parts that are there already; None: whichever answers first.
    """

    asked: str | None
    model_of: Callable[[A], ModelRef]
    first: ModelRef | None = None
    _is_named: bool = field(default=False, init=False)

    async def ask(self, send: Callable[[str | None], Awaitable[A]]) -> A:
        """An answer of the first version, or of another one where the first is not loaded any more.

        Args:
            send: asks a model, None being the default, for one part.
        """
        if self._is_named:
            with suppress(UnknownModel, NotReady):
                return await send(self._name())
        answer = await send(self.asked)
        self.first = self.first or self.model_of(answer)
        if self.model_of(answer) != self.first:
            with suppress(UnknownModel, NotReady):
                answer = await send(self._name())
                self._is_named = True
        return answer

    def _name(self) -> str:
        assert self.first is not None, "a part was answered"
        return f"{self.first.name}@{self.first.version}"
