"""Which version answers, a registered one that is not loaded here being loaded first."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from guerdon_service.core.errors import NotReady, UnknownModel
from guerdon_service.core.model_name import split_reference
from guerdon_service.core.result import Provenance
from guerdon_service.evaluation.score import Asked, pin
from guerdon_service.scoring.service import ScoringService

EnsureVersion = Callable[[str, str], Awaitable[None]]
"""Name and version; returns once that version answers on this replica. Raises `UnknownModel` where it is not
registered, and another `GuerdonError` where it cannot be loaded."""


async def nothing_registered(name: str, version: str) -> None:
    """An `EnsureVersion` without a registry."""
    raise UnknownModel(f"model {name}@{version} is not registered; load it first", param="model")


async def pin_loaded(service: ScoringService, asked: Asked, ensure: EnsureVersion) -> Provenance:
    """`pin`, after what is registered under ``NAME@VERSION`` was loaded.

    Raises:
        GuerdonError: no such model or profile, or it is not ready.
    """
    try:
        with suppress(NotReady):  # perhaps let go while it was asked: the next look finds it gone
            return await pin(service, asked)
        return await pin(service, asked)
    except UnknownModel as unknown:
        name, version = split_reference(asked.model)
        if not version:
            raise
        try:
            await ensure(name, version)
        except UnknownModel as unregistered:
            if unregistered.param == "version":  # of a name that is registered: it says which versions are
                raise UnknownModel(unregistered.message, param="model") from None
            raise unknown from None  # it says what is loaded
    return await pin(service, asked)
