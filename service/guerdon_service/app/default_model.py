"""A `default_model` that is none of the models: refused, or told of where it can still be registered."""

import logging
from collections.abc import Iterable

from guerdon_service.app.settings import Settings
from guerdon_service.core.errors import InvalidInput

_LOG = logging.getLogger(__name__)


def check_default(settings: Settings, names: Iterable[str]) -> None:
    """Look for it among `names`, those of the settings and of the registry; it would be told to every caller.

    With a state database it may be registered once the service runs, and it is kept: a warning is enough.

    Raises:
        InvalidInput: it is none of them, and there is no state database.
    """
    known = dict.fromkeys(names)
    if settings.default_model in {None, *known}:
        return
    told = f"default_model is {settings.default_model!r}, and the models are {', '.join(known)}"
    if settings.state_url is None:
        raise InvalidInput(
            f"{told}; name one of them, or give it a source (--model NAME=PATH)", param="default_model"
        )
    _LOG.warning("%s; register it, or name one of them", told)
