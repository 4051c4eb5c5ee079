"""The service's API keys, from its settings and its key file."""

import logging
from pathlib import Path

from pydantic import ValidationError

from guerdon_service.app.settings import ApiKeySettings, Settings
from guerdon_service.core.auth import ApiKey, Scope
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.rate import KeyLimits

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_LOG = logging.getLogger(__name__)


def load_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """All keys; none leaves the service open.

    Raises:
        InvalidInput: the key file cannot be read, a line is malformed, or a name is taken twice.
    """
    keys = list(settings.keys)
    if settings.api_key_file is not None:
        keys += read_keys(settings.api_key_file)
    names = [key.name for key in keys]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"api key {twice[0]} is given twice; give each its own name", param="api_keys")
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


def _key(words: list[str], where: str) -> ApiKey:
    try:
        name, sha256, scopes, *limits = words
        given = dict(limit.split("=") for limit in limits)
        key = ApiKeySettings.model_validate({"sha256": sha256.lower(), "scopes": scopes.split(","), **given})
    except (ValueError, ValidationError):
        raise InvalidInput(
            f"{where} is malformed; write NAME SHA256 SCOPE[,SCOPE] [LIMIT=N]... with the scopes "
            f"{', '.join(Scope)} and the limits {', '.join(KeyLimits.__dataclass_fields__)}",
            param="api_key_file",
        ) from None
    return key.named(name)
