"""The models that are loaded now, by name, version and alias, each with its own queue."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor

from guerdon_service.core.artifact import LoadedModel, ModelInfo, ModelSpec
from guerdon_service.core.errors import GuerdonError, InvalidInput, NotReady, UnknownModel
from guerdon_service.core.limits import Limits
from guerdon_service.core.model_name import split_reference
from guerdon_service.core.ports import Cache, Observer
from guerdon_service.core.registry import CHAMPION
from guerdon_service.scoring.model_scorer import ModelScorer
from guerdon_service.scoring.slot import Slot

log = logging.getLogger(__name__)

LoadModel = Callable[[ModelSpec], LoadedModel]
"""Blocking: read, check, load and certify one model. Raises a `GuerdonError` that says why not."""

UNVERSIONED = ""
"""The version of an ensemble, and of a model that is still loading under a new name."""


class Catalog:
    """Models by ``NAME``, ``NAME@VERSION`` and ``NAME@ALIAS``; a bare name is its champion.

    All methods run on the event loop; `load_model` works in a thread.
    """

    def __init__(
        self,
        load_model: LoadModel,
        limits: Limits,
        cache: Cache,
        pool: Executor,
        observer: Observer,
        default_model: str | None = None,
    ) -> None:
        self._load_model = load_model
        self._limits = limits
        self._cache = cache
        self._pool = pool
        self._observer = observer
        self._default = default_model
        self._slots: dict[tuple[str, str], Slot] = {}
        self._aliases: Mapping[tuple[str, str], str] = {}
        self._expected: tuple[str, ...] = ()
        self._registered: dict[str, frozenset[str]] = {}

    def expect(self, names: Iterable[str]) -> None:
        """Names that are about to be loaded, in place of those named before.

        Until each has a ready champion the catalog is not ready, and who asks for one is told `NotReady`. The
        first is the default model, where there is none.
        """
        self._expected = tuple(dict.fromkeys(names))
        self._default = self._default or next(iter(self._expected), None)

    def know(self, name: str, versions: Iterable[str]) -> None:
        """All versions of a name that the registry has: one that is not loaded is told as that."""
        self._registered[name] = frozenset(versions)

    async def load(self, spec: ModelSpec) -> ModelInfo:
        """Load under a new name; the name answers `NotReady` until it is ready.

        Raises:
            InvalidInput: the name is taken, an ensemble's member is unknown, or the artifact is refused.
        """
        if any(name == spec.name and slot.state != "failed" for (name, _), slot in self._slots.items()):
            raise InvalidInput(f"model {spec.name} is loaded already; unload it first", param="name")
        if spec.members:
            self._check_members(spec)
        key = (spec.name, UNVERSIONED)
        self._slots[key] = Slot(spec, label=self._label(key))
        self._default = self._default or spec.name
        if spec.members:
            return self.info(spec.name)
        model = await self._loaded(key, spec.name)
        if model is None:
            raise _unloaded(spec.name)
        del self._slots[key]
        version = model.manifest.version
        if (spec.name, version) in self._slots:  # it was loaded beside, meanwhile
            beside = self.info(f"{spec.name}@{version}")
            await asyncio.to_thread(model.backend.close)
            return beside
        self._put((spec.name, version), Slot(spec, self._scorer(model, spec.name), label=spec.name))
        self._aliases = {(spec.name, CHAMPION): version, **self._aliases}
        return self.info(f"{spec.name}@{version}")

    async def load_version(self, spec: ModelSpec, version: str, digest: str) -> ModelInfo:
        """Load one more version beside those of its name; no alias moves. Loaded already is fine.

        Raises:
            InvalidInput: the artifact is refused, or is not this version with this digest, or the name is an
                ensemble's.
        """
        key, reference = (spec.name, version), f"{spec.name}@{version}"
        if key in self._slots and self._slots[key].state != "failed":
            loaded = self._slots[key].ready_scorer().model
            if loaded.manifest.digest != digest:
                raise _changed(loaded, (version, digest))
            return self.info(reference)
        if any(slot.spec.members for slot in self.slots(spec.name)):
            raise InvalidInput(f"model {spec.name} is an ensemble; give another name", param="name")
        dead, known, label = self._slots.get(key), self._label(key), self._label_of(key)
        self._slots[key] = Slot(spec, label=known)
        if dead is not None and dead.scorer is not None:
            await dead.scorer.close()  # its weights go before the new ones come
        self._default = self._default or spec.name
        model = await self._loaded(key, label, (version, digest))
        if model is None:
            raise _unloaded(reference)
        self._put(key, Slot(spec, self._scorer(model, label), label=label))
        return self.info(reference)

    def refuse(self, spec: ModelSpec, version: str, reason: str) -> None:
        """List a version that is not there to be loaded as failed, as one that was refused is.

        One that was loaded, and whose back end is at fault, stays: it may come back.
        """
        key = (spec.name, version)
        if key in self._slots and self._slots[key].scorer is not None:
            return
        self._put(key, Slot(spec, failure=reason, label=self._label_of(key)))

    async def unload(self, reference: str) -> None:
        """Answer what waits, then free one version, or every version of a bare name.

        Raises:
            UnknownModel: no such model.
            InvalidInput: an ensemble needs it, or an alias points at this version.
        """
        name, ref = split_reference(reference)
        if not ref and any(known == name for known, _ in self._slots):
            keys = [key for key in self._slots if key[0] == name]
        else:
            keys = [self._key(reference)]
            self._check_unnamed(keys[0])
        self._check_unused(keys)
        self._aliases = {key: v for key, v in self._aliases.items() if ref or key[0] != name}
        removed = {key: self._slots.pop(key) for key in keys}
        for key, slot in removed.items():
            if slot.label:
                self._observer.model_unloaded(slot.label, "@".join(key))
            if slot.scorer is not None:
                await slot.scorer.close()

    def point(self, aliases: Mapping[tuple[str, str], str]) -> None:
        """Point ``{(name, alias): version}`` at ready versions, all at once; other aliases stay.

        One assignment: a request sees all of it or nothing, and keeps the version that it resolved.
        """
        for (name, alias), version in aliases.items():
            assert self.is_loaded(name, version), f"{name}@{alias} needs {version} loaded"
        self._aliases = {**self._aliases, **aliases}

    def drop(self, aliases: Set[tuple[str, str]]) -> None:
        """Forget ``(name, alias)``, all at once; the versions stay loaded."""
        self._aliases = {key: version for key, version in self._aliases.items() if key not in aliases}

    def aliases(self) -> Mapping[tuple[str, str], str]:
        """``{(name, alias): version}`` as requests resolve them now."""
        return self._aliases

    def resolve(self, reference: str | None) -> Slot:
        """The one version that a reference means now, None being the default model's champion.

        Raises:
            UnknownModel: no such model.
            NotReady: it is expected, or none of its versions is the champion yet.
        """
        return self._slots[self._key(reference)]

    def slots(self, name: str) -> tuple[Slot, ...]:
        """What is known of one name, in the order of loading; empty when unknown."""
        return tuple(slot for (known, _), slot in self._slots.items() if known == name)

    def is_loaded(self, name: str, version: str) -> bool:
        """Whether that version is ready to answer."""
        slot = self._slots.get((name, version))
        return slot is not None and slot.is_ready()

    def infos(self) -> tuple[ModelInfo, ...]:
        """All versions, in the order of loading."""
        return tuple(self._info(key) for key in self._slots)

    def info(self, reference: str) -> ModelInfo:
        """One version.

        Raises:
            UnknownModel: no such model.
        """
        return self._info(self._key(reference))

    def unready_reason(self) -> str:
        """Empty when the champion of every name, and of every expected one, is ready, else what is not, in
        one line.
        """
        found = {name: self._champion(name) for name, _ in self._slots}
        champions = {name: slot for name, slot in found.items() if slot is not None}
        missing = [f"model {name} is not loaded yet" for name in self._expected if name not in champions]
        if not champions and not missing:
            return "no model is loaded"
        unready = [
            f"model {name} is {slot.state}" + (f": {slot.failure}" if slot.failure else "")
            for name, slot in champions.items()
            if slot.state != "ready"
        ]
        return "; ".join(unready + missing)

    async def close(self) -> None:
        """Free every model, flush the cache, end the tokenizing pool: the catalog owns all three."""
        names = [slot.spec.name for slot in self._slots.values() if slot.spec.members]
        for name in dict.fromkeys(names + [name for name, _ in self._slots]):
            await self.unload(name)
        await self._cache.close()
        self._pool.shutdown(wait=False)

    async def _loaded(
        self, key: tuple[str, str], label: str, identity: tuple[str, str] | None = None
    ) -> LoadedModel | None:
        """The loaded model; None when it was unloaded while it was loading.

        Args:
            identity: version and digest that the artifact must have.
        """
        spec = self._slots[key].spec
        try:
            model = await asyncio.get_running_loop().run_in_executor(None, self._load_model, spec)
            if identity is not None and identity != (model.manifest.version, model.manifest.digest):
                await asyncio.to_thread(model.backend.close)
                raise _changed(model, identity)
        except Exception as err:  # whatever it is, the name must not be loading for ever
            reason = err.message if isinstance(err, GuerdonError) else "loading failed; see the service's log"
            unexpected = None if isinstance(err, GuerdonError) else err
            log.error("model refused", exc_info=unexpected, extra={"model": label, "reason": reason})
            if key in self._slots:
                self._put(key, Slot(spec, failure=reason, label=label))
            raise
        if key not in self._slots:
            await asyncio.to_thread(model.backend.close)
            return None
        return model

    def _put(self, key: tuple[str, str], slot: Slot) -> None:
        """What loading has come to; the metrics follow it from now on."""
        self._slots[key] = slot
        self._observer.model_ready(slot.label, slot.is_ready)

    def _label(self, key: tuple[str, str]) -> str:
        """What the metrics know a version as that failed and is loaded again; empty where they do not."""
        slot = self._slots.get(key)
        return slot.label if slot is not None else ""

    def _label_of(self, key: tuple[str, str]) -> str:
        """What the metrics call a version that joins: as before, and the first of its name by that alone."""
        name, version = key
        return self._label(key) or (f"{name}@{version}" if self.slots(name) else name)

    def _scorer(self, model: LoadedModel, label: str) -> ModelScorer:
        limits = self._limits.on(model.spec.first_device)
        return ModelScorer(model, limits, self._cache, self._pool, self._observer, label)

    def _champion(self, name: str) -> Slot | None:
        return self._slots.get((name, self._aliases.get((name, CHAMPION), UNVERSIONED)))

    def _info(self, key: tuple[str, str]) -> ModelInfo:
        name, version = key
        slot = self._slots[key]
        aliases = sorted(a for (n, a), v in self._aliases.items() if n == name and v == version)
        is_default = name == self._default and slot is self._champion(name)
        return slot.info(version, tuple(aliases), default=is_default)

    def _check_members(self, spec: ModelSpec) -> None:
        if len(spec.members) < 2:
            raise InvalidInput("members needs two models or more", param="members")
        if len({_explicit(member) for member in spec.members}) < len(spec.members):
            raise InvalidInput("members names a model twice; give each once", param="members")
        for member in spec.members:
            if self.resolve(member).spec.members:
                raise InvalidInput(
                    f"member {member} is an ensemble itself; name its members", param="members"
                )

    def _check_unused(self, keys: Sequence[tuple[str, str]]) -> None:
        ensembles = [slot.spec for slot in self._slots.values()]
        users = [spec.name for spec in ensembles if any(self._key(member) in keys for member in spec.members)]
        if users:
            raise InvalidInput(
                f"model {keys[0][0]} is a member of {', '.join(users)}; unload that first", param="name"
            )

    def _check_unnamed(self, key: tuple[str, str]) -> None:
        name, version = key
        aliases = self._info(key).aliases
        if aliases:
            raise InvalidInput(
                f"version {version} of {name} is its {', '.join(aliases)}; promote another one first",
                param="name",
            )

    def _key(self, reference: str | None) -> tuple[str, str]:
        name, ref = split_reference(reference or self._default or "")
        key = (name, self._aliases.get((name, ref or CHAMPION), ref))
        if key not in self._slots and name in self._expected:
            raise NotReady(
                f"model {reference or name} is not loaded yet; ask again when GET /health/ready answers 200",
                retry_after_ms=1000,
            )
        if key not in self._slots and not ref and self.slots(name):
            raise NotReady(
                f"model {name} has no champion here yet; ask again, GET /v1/models says what its versions do",
                retry_after_ms=1000,
            )
        if key not in self._slots:
            raise UnknownModel(f"{self._missing(reference)}; {self._known(name)}", param="model")
        return key

    def _missing(self, reference: str | None) -> str:
        """What is not loaded; with what would load it, where the registry has it beside loaded versions."""
        name, version = split_reference(reference or "")
        if version in self._registered.get(name, ()) and self.slots(name):
            return (
                f"version {version} of {name} is registered, and not loaded as no alias keeps it: "
                f"guerdon models promote {name} {version} --alias NAME --override WHY does"
            )
        return f"model {reference or self._default!r} is not loaded"

    def _known(self, name: str) -> str:
        """What is loaded instead: versions of that name, or names. Every key may list both."""
        versions = [info for info in self.infos() if info.name == name and info.version]
        if versions:
            told = (f"{v.version} ({', '.join(v.aliases)})" if v.aliases else v.version for v in versions)
            return f"loaded versions of {name} are: {', '.join(told)}"
        return f"loaded are: {', '.join(dict.fromkeys(known for known, _ in self._slots)) or 'none'}"


def _explicit(reference: str) -> tuple[str, str]:
    """Name and version or alias: a bare name is its champion."""
    name, ref = split_reference(reference)
    return name, ref or CHAMPION


def _changed(model: LoadedModel, identity: tuple[str, str]) -> InvalidInput:
    manifest, (version, digest) = model.manifest, identity
    return InvalidInput(
        f"artifact of {model.spec.name}@{version} is version {manifest.version} with digest "
        f"{manifest.digest[:12]}, registered is {digest[:12]}; restore it, or register it as a new version",
        param="source",
    )


def _unloaded(reference: str) -> UnknownModel:
    return UnknownModel(f"model {reference} was unloaded while it was loading", param="model")
