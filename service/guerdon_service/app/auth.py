"""The service's API keys, from its settings and its key file."""

import logging
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from guerdon_service.app.settings import ApiKeySettings, ModelName, Settings
from guerdon_service.core.auth import ApiKey, Scope
from guerdon_service.core.call import ANONYMOUS
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.rate import KeyLimits

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_NAME: TypeAdapter[str] = TypeAdapter(ModelName)
_LOG = logging.getLogger(__name__)


def load_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """All keys; none leaves the service open.

    Raises:
        InvalidInput: the key file cannot be read, a line is malformed, or a name stands for two callers.
    """
    keys = list(settings.keys)
    if settings.api_key_file is not None:
        keys += read_keys(settings.api_key_file)
    _check_names(keys)
    if not keys and settings.host not in LOOPBACK:
        _LOG.warning("no API keys: whoever reaches %s may do everything; set api_key_file", settings.host)
    return tuple(keys)


def read_keys(path: Path) -> list[ApiKey]:
    """Keys of a file with a line ``NAME SHA256 SCOPE[,SCOPE] [LIMIT=N]...`` each; ``#`` begins a comment.

    Raises:
        InvalidInput: the file cannot be read or holds no key (which would open the service), or a line is
            malformed; no secret and no digest is repeated in the message.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"api_key_file {path} cannot be read: {error}", param="api_key_file") from None
    keys = [
        _key(line.split("#")[0].split(), f"api_key_file {path.name} line {number}")
        for number, line in enumerate(lines, 1)
        if line.split("#")[0].strip()
    ]
    if not keys:
        raise InvalidInput(
            f"api_key_file {path} holds no key; add a line NAME SHA256 SCOPE, or leave the setting out",
            param="api_key_file",
        )
    return keys


def _check_names(keys: Iterable[ApiKey]) -> None:
    """A name may have several keys, so that one can take another's place: they are one tenant."""
    firsts: dict[str, ApiKey] = {}
    for key in keys:
        first = firsts.setdefault(key.name, key)
        if (key.scopes, key.limits) != (first.scopes, first.limits):
            raise InvalidInput(
                f"api key {key.name} is given twice with different scopes or limits; give it the same ones, "
                "or another name",
                param="api_keys",
            )
    if ANONYMOUS in firsts:
        raise InvalidInput(
            f"api key {ANONYMOUS} would be taken for callers of a service without keys; give it another name",
            param="api_keys",
        )


def _key(words: list[str], where: str) -> ApiKey:
    try:
        name, sha256, scopes, *limits = words
        given = dict(limit.split("=") for limit in limits)
        _NAME.validate_python(name)
        key = ApiKeySettings.model_validate({"sha256": sha256.lower(), "scopes": scopes.split(","), **given})
    except (ValueError, ValidationError):
        raise InvalidInput(
            f"{where} is malformed; write NAME SHA256 SCOPE[,SCOPE] [LIMIT=N]... with a name of at most 64 "
            f"ASCII letters, digits, '.', '_' and '-', the scopes {', '.join(Scope)} and the limits "
            f"{', '.join(KeyLimits.__dataclass_fields__)}",
            param="api_key_file",
        ) from None
    return key.named(name)
