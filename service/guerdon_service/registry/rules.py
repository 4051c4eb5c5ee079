"""Rules about versions and aliases that need nothing but a name's history."""

from collections.abc import Iterable

from guerdon_service.core.errors import InvalidInput, UnknownModel
from guerdon_service.core.evaluation import ENDED, Evaluation
from guerdon_service.core.model_name import check_model_name, split_reference
from guerdon_service.core.registry import (
    CANDIDATE,
    CHAMPION,
    ModelHistory,
    ModelVersion,
    PromoteQuery,
)


def find_version(versions: tuple[ModelVersion, ...], version: str) -> ModelVersion | None:
    """The one of that number."""
    return next((known for known in versions if known.version == version), None)


def registered_version(history: ModelHistory, version: str) -> ModelVersion:
    """The one of that number.

    Raises:
        UnknownModel: it is not registered.
    """
    found = find_version(history.versions, version)
    if found is None:
        known = ", ".join(registered.version for registered in history.versions)
        raise UnknownModel(
            f"model {history.name}@{version[:80]} is not registered; registered are: {known}", param="version"
        )
    return found


def not_here(version: ModelVersion) -> UnknownModel:
    """In place of an error that names the source of an artifact, which only admins may know."""
    return UnknownModel(
        f"the artifact of {version.name}@{version.version} is not where it was, or not whole on this "
        "replica yet; put it back, or register it from where it is now",
        param="version",
    )


def refused(version: ModelVersion) -> InvalidInput:
    """In place of an error of loading, for the same reason."""
    return InvalidInput(
        f"the artifact of {version.name}@{version.version} is refused where it is loaded: it is damaged, not "
        "what was registered, or fails its certificate; put it back as it was (the service's log says more)",
        param="model",
    )


def check_version(history: ModelHistory, version: ModelVersion) -> None:
    """Refuse what the store would refuse, before anything is loaded for it.

    Raises:
        InvalidInput: the version is no name, an alias, or registered with another digest, or it is of another
            kind than the versions of its name.
    """
    check_model_name(version.version, "version")
    if version.version in {CHAMPION, CANDIDATE, *history.aliases}:
        raise InvalidInput(
            f"version {version.version!r} is the name of an alias; give the artifact another version",
            param="version",
        )
    if any(earlier.kind != version.kind for earlier in history.versions):
        raise InvalidInput(
            f"{version.name} is the name of a {history.versions[0].kind} model, this artifact is a "
            f"{version.kind} model; register it under another name",
            param="name",
        )
    known = find_version(history.versions, version.version)
    if known is not None and known.digest != version.digest:
        raise InvalidInput(
            f"version {version.version} of {version.name} is registered with digest {known.digest[:12]}, "
            f"this artifact has {version.digest[:12]}; give it a version of its own",
            param="version",
        )


def asked_version(history: ModelHistory, query: PromoteQuery) -> ModelVersion:
    """The version to promote.

    Raises:
        InvalidInput: it is not registered or stands there already, or the alias cannot be one.
    """
    check_model_name(query.alias, "alias")
    if find_version(history.versions, query.alias) is not None:
        raise InvalidInput(f"alias {query.alias!r} is the name of a version; give another", param="alias")
    found = find_version(history.versions, query.version)
    if found is None:
        known = ", ".join(version.version for version in history.versions)
        raise InvalidInput(
            f"version {query.version[:80]!r} of {query.name} is not registered; registered are: {known}",
            param="version",
        )
    if history.aliases.get(query.alias) == query.version:
        raise InvalidInput(f"version {query.version} is the {query.alias} already", param="version")
    return found


def incumbent_of(history: ModelHistory, query: PromoteQuery) -> ModelVersion | None:
    """What a version is held against: where the alias stands, or the champion where the alias is new, so that
    one that was removed is no way round the gate; None where nothing else stands there.
    """
    stands = history.aliases.get(query.alias, history.aliases.get(CHAMPION, ""))
    return find_version(history.versions, stands) if stands != query.version else None


def removable(history: ModelHistory, alias: str) -> ModelVersion:
    """Where an alias stands that may be removed.

    Raises:
        InvalidInput: there is no such alias, or it is the one that the bare name means.
    """
    found = find_version(history.versions, history.aliases.get(alias, ""))
    if found is None:
        known = ", ".join(sorted(history.aliases))
        raise InvalidInput(
            f"{history.name} has no alias {alias[:80]!r}; its aliases are: {known}", param="alias"
        )
    if alias == CHAMPION:
        raise InvalidInput(
            f"{history.name} without a version means its {CHAMPION}, which stays; promote another version",
            param="alias",
        )
    return found


def version_before(history: ModelHistory, alias: str) -> str | None:
    """Where the alias stood before the last change that no rollback has undone."""
    before: list[str | None] = []
    for change in history.changes:
        if change.alias != alias or change.action == "stop":
            continue
        if change.action == "rollback":
            before.pop()
        elif change.action == "remove":
            before.clear()
        else:
            before.append(change.previous)
    return before[-1] if before else None


def stopped_because(history: ModelHistory, version: str) -> str | None:
    """Why judgements on live traffic stopped it after it last became the candidate; None where none did.

    That the alias went on, or was removed, makes it no better.
    """
    ours = (c for c in reversed(history.changes) if (c.alias, c.version) == (CANDIDATE, version))
    last = next((c for c in ours if c.action != "remove"), None)
    return last.reason if last is not None and last.action == "stop" else None


def needed_versions(history: ModelHistory, evaluations: Iterable[Evaluation]) -> set[str]:
    """Versions of a name that must answer at once: what aliases stand at and would go back to, and what an
    evaluation that has not ended is about. A candidate never goes back.
    """
    needed = set(history.aliases.values())
    needed |= {version_before(history, alias) or "" for alias in history.aliases if alias != CANDIDATE}
    for evaluation in evaluations:
        if evaluation.state not in ENDED:
            both = (evaluation.candidate, evaluation.baseline or "")
            needed |= {version for name, version in map(split_reference, both) if name == history.name}
    return needed


def written_reason(
    text: str, param: str = "reason", remedy: str = "write why, for whoever reads the history"
) -> str:
    """The reason without blanks around it.

    Raises:
        InvalidInput: it says nothing.
    """
    if not text.strip():
        raise InvalidInput(f"{param} is empty; {remedy}", param=param)
    return text.strip()
