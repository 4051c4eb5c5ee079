"""Which version answers, a registered one being loaded first, and kept while it is worked with."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from guerdon_service.core.errors import UnknownModel
from guerdon_service.core.model_name import split_reference
from guerdon_service.core.result import Provenance
from guerdon_service.evaluation.score import Asked, pin
from guerdon_service.scoring.service import ScoringService

KeepLoaded = Callable[[str, str], AbstractAsyncContextManager[None]]
"""Name and version; entered once that version answers on this replica, which keeps it until it is left.
Raises `UnknownModel` where it is not registered, and another `GuerdonError` where it cannot be loaded."""


@asynccontextmanager
async def nothing_registered(name: str, version: str) -> AsyncIterator[None]:
    """A `KeepLoaded` without a registry."""
    raise UnknownModel(f"model {name}@{version} is not registered; load it first", param="model")
    yield


@asynccontextmanager
async def pinned(service: ScoringService, asked: Asked, keep_loaded: KeepLoaded) -> AsyncIterator[Provenance]:
    """`pin`; what is registered under ``NAME@VERSION`` is loaded before, and kept until the end.

    Raises:
        GuerdonError: no such model or profile, or it is not ready.
    """
    name, version = split_reference(asked.model)
    unregistered: UnknownModel | None = None
    async with AsyncExitStack() as kept:
        if version:
            try:
                await kept.enter_async_context(keep_loaded(name, version))
            except UnknownModel as err:  # an alias, which keeps its version itself
                unregistered = err
        try:
            model = await pin(service, asked)
        except UnknownModel:
            if unregistered is not None and unregistered.param == "version":  # it says which versions are
                raise UnknownModel(unregistered.message, param="model") from None
            raise  # it says what is loaded
        yield model
