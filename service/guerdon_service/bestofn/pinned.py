"""One version of a model for the whole of a query, so that all its rewards are on one scale."""

from dataclasses import replace

from guerdon_service.core.errors import InvalidInput, NotReady
from guerdon_service.core.query import Options
from guerdon_service.core.result import Provenance
from guerdon_service.core.scorer import Scorer


def pinned(scorer: Scorer, options: Options) -> Options:
    """Options that name one version, whatever is promoted meanwhile.

    Raises:
        UnknownModel: no such model.
        InvalidInput: the model has no such profile.
    """
    name = options.model or next((info.name for info in scorer.models() if info.default), None)
    if name is None:
        return options  # nothing is loaded: scoring says so
    info = scorer.model(name)
    if options.profile and info.profiles and options.profile not in info.profiles:
        raise InvalidInput(
            f"profile {options.profile!r} is not defined by model {info.name}; use one of "
            f"{', '.join(info.profiles)}",
            param="profile",
        )
    return replace(options, model=f"{info.name}@{info.version}" if info.version else name)


def check_same(before: Provenance | None, now: Provenance) -> None:
    """Refuse rewards on two scales: an ensemble has no version, so nothing pins its members.

    Raises:
        NotReady: `now` is another model than `before`.
    """
    if before is not None and before.digest != now.digest:
        raise NotReady(
            f"model {now.name} became another while responses were scored; ask again", retry_after_ms=1000
        )
