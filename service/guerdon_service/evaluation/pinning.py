"""Which version answers, a registered one being loaded first, and kept while it is worked with."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

from guerdon_service.core.errors import NotReady, UnknownModel
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
    """`pin`; what is registered is loaded before, and kept until the end.

    A bare name, or an alias, is held as the version that it means now: it may move on before that answers.

    Raises:
        GuerdonError: no such model or profile, or it is not ready.
    """
    name, version = _meant(service, asked.model)
    asked = replace(asked, model=f"{name}@{version}" if version else name)
    unregistered: UnknownModel | None = None
    async with AsyncExitStack() as kept:
        if version:
            try:
                await kept.enter_async_context(keep_loaded(name, version))
            except UnknownModel as err:  # it may be loaded all the same
                unregistered = err
        try:
            model = await pin(service, asked)
        except UnknownModel:
            if unregistered is not None and unregistered.param == "version":  # it says which versions are
                raise UnknownModel(unregistered.message, param="model") from None
            raise  # it says what is loaded
        yield model


def _meant(service: ScoringService, reference: str) -> tuple[str, str]:
    """Name and version; as written where it is not loaded, and without a version for an ensemble."""
    name, version = split_reference(reference)
    with suppress(UnknownModel, NotReady):
        version = service.catalog.info(reference).version
    return name, version
