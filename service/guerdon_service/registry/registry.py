"""`core.registry.Registrar`: register, promote through the gate, roll back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.errors import InvalidInput, NotReady, UnknownModel
from guerdon_service.core.evaluation import EvaluationStore
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.model_name import check_model_name
from guerdon_service.core.registry import (
    CANDIDATE,
    CHAMPION,
    Action,
    AliasChange,
    ModelHistory,
    ModelVersion,
    PromoteQuery,
    RegisteredModel,
    RegistryStore,
)
from guerdon_service.registry.follower import POLL_S, Follower
from guerdon_service.registry.gate import ask, failures, refusal
from guerdon_service.registry.gather import Gatherer
from guerdon_service.registry.holder import Holder
from guerdon_service.registry.loader import Artifacts, Loader, MissingArtifact
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.registry.retire import Retirement
from guerdon_service.registry.rules import (
    asked_version,
    check_version,
    find_version,
    incumbent_of,
    not_here,
    refused,
    registered_version,
    removable,
    stopped_because,
    version_before,
    written_reason,
)
from guerdon_service.scoring.catalog import Catalog

SETTINGS = "settings"
"""Who registered what the service was started with."""
_OVERRIDE_REMEDY = "write why (--override on the command line), or leave it out"

log = logging.getLogger(__name__)


class Registry:
    """The registry of one replica. All methods run on the event loop of its catalog."""

    def __init__(
        self,
        store: RegistryStore,
        evaluations: EvaluationStore,
        catalog: Catalog,
        artifacts: Artifacts,
        template: ModelSpec,
        *,
        policy: GatePolicy | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Versions of names that are not served yet run as `template` says; `now` is in Unix seconds."""
        self._store = store
        self._catalog = catalog
        self._artifacts = artifacts
        self._policy = policy or GatePolicy()
        self._now = now
        self._loader = Loader(catalog, artifacts, template)
        self._retirement = Retirement(store, evaluations, catalog)
        self._holder = Holder(catalog, self._loader, self._retirement)
        self._gatherer = Gatherer(evaluations, catalog, self._loader, artifacts)
        self._follower = Follower(store, catalog, self._loader, on_left=self._retirement.begin)

    async def follow(self, poll_s: float = POLL_S) -> None:
        """Do what other replicas decide, until cancelled; an outage of the database changes nothing."""
        await self._follower.run(poll_s)

    async def sync(self) -> None:
        """Follow once.

        Raises:
            NotReady: the registry does not answer.
        """
        await self._follower.sync()

    async def catch_up(self) -> None:
        """Follow once, and wait for the champions; what is refused is logged, and tried again by `follow`.

        Raises:
            NotReady: the registry does not answer.
        """
        await self._follower.champions()
        with suppress(NotReady):  # it serves messages alone
            await self._retirement.tell_registered()

    async def load(self, spec: ModelSpec, by: str) -> ModelInfo:
        """Load a model under a new name, and register it: what answers callers is always in the registry.

        Raises:
            InvalidInput: the name is loaded already, its source may not be named, or the artifact is refused.
            NotReady: the registry does not answer.
        """
        if any(slot.state != "failed" for slot in self._catalog.slots(spec.name)):
            raise InvalidInput(f"model {spec.name} is loaded already; unload it first", param="name")
        if spec.members:
            return await self.adopt(spec)
        source = await asyncio.to_thread(self._artifacts.admit, spec.source)
        return await self.adopt(replace(spec, source=source), by)

    async def adopt(self, spec: ModelSpec, by: str = SETTINGS) -> ModelInfo:
        """Load a configured model, and register it as the version that its manifest states.

        It becomes champion where its name has none. Otherwise the champion is loaded first, so that this
        replica never answers with another version than the others. What the settings name stays loaded,
        wherever aliases move. An ensemble is made of versions and is none: it is loaded alone.

        Raises:
            InvalidInput: the artifact is refused, or is registered with another digest.
            NotReady: the registry does not answer.
        """
        if spec.members:
            return await self._catalog.load(spec)
        source = await asyncio.to_thread(self._artifacts.local, spec.source)
        manifest = await asyncio.to_thread(self._artifacts.read, source, spec.name)
        version = self._version(spec.name, manifest, self._artifacts.absolute(spec.source), by)
        history = await asyncio.to_thread(self._store.history, spec.name)
        check_version(history, version)
        is_new = find_version(history.versions, version.version) is None
        champion = find_version(history.versions, history.aliases.get(CHAMPION, ""))
        if champion is not None and champion.version != version.version:
            await self._loader.ensure(champion, like=spec)
        # From where it is now, wherever it was registered from.
        async with self._holder.loaded(version, spec, forgets=is_new):
            await asyncio.to_thread(self._store.add_version, version)
            (self._retirement.pin if by == SETTINGS else self._retirement.keep)(version)
            if champion is None:
                await self._crown(version)
            else:
                await self._follower.resume(spec.name)
            return self._catalog.info(f"{spec.name}@{version.version}")

    @asynccontextmanager
    async def keep_loaded(self, name: str, version: str) -> AsyncIterator[None]:
        """Entered once a registered version answers on this replica, which keeps it until this is left; then
        it goes, where it was loaded for this and nothing else needs it. No alias moves.

        Raises:
            UnknownModel: no such name or version, or its artifact is not here.
            InvalidInput: its artifact is refused; the message does not say where it lies.
            GuerdonError: it cannot be loaded.
        """
        found = registered_version(await self.history(name), version)
        async with AsyncExitStack() as held:
            self._retirement.lend(found)
            held.callback(self._retirement.begin_lent, found)
            try:
                await held.enter_async_context(self._holder.loaded(found, forgets=True))
            except InvalidInput as err:
                log.warning("version not loaded", extra={"model": f"{name}@{version}", "reason": err.message})
                raise (not_here if isinstance(err, MissingArtifact) else refused)(found) from err
            yield

    async def register(self, name: str, source: str, by: str) -> ModelVersion:
        """Read, certify, load and store an artifact; the same again changes nothing but where it lies.

        The first version of a name becomes its champion, later ones its candidate; one that was registered
        and became neither, because that was cut short, does so when it is registered again.

        Raises:
            InvalidInput: the source may not be named, the artifact is refused, or its version is taken.
            NotReady: the registry does not answer.
        """
        check_model_name(name, "name")
        source = await asyncio.to_thread(self._artifacts.admit, source)
        local = await asyncio.to_thread(self._artifacts.local, source)
        manifest = await asyncio.to_thread(self._artifacts.read, local, name)
        history = await asyncio.to_thread(self._store.history, name)
        version = self._version(name, manifest, source, by)
        check_version(history, version)
        known = find_version(history.versions, version.version)
        async with self._holder.loaded(version, forgets=known is None):
            await asyncio.to_thread(self._store.add_version, version)
            if CHAMPION not in history.aliases:
                await self._crown(version)
            await self._introduce(version)
        return version if known is None else replace(known, source=version.source)

    async def models(self) -> tuple[RegisteredModel, ...]:
        """Every registered name, loaded here or not, in alphabetical order.

        Raises:
            NotReady: the registry does not answer.
        """
        return await asyncio.to_thread(self._store.models)

    async def history(self, name: str) -> ModelHistory:
        """Everything of one name.

        Raises:
            UnknownModel: there is none of that name.
            NotReady: the registry does not answer.
        """
        found = await asyncio.to_thread(self._store.history, name)
        if not found.versions:
            raise UnknownModel(f"model {name[:80]!r} is not registered; register it first", param="name")
        return found

    async def card(self, name: str, version: str) -> str:
        """The model card of one version, Markdown.

        Raises:
            UnknownModel: no such name or version, or its artifact has no card.
            NotReady: the registry does not answer.
        """
        found = registered_version(await self.history(name), version)
        try:
            card = await asyncio.to_thread(self._artifacts.card, found.source, found.digest)
        except InvalidInput as err:
            raise not_here(found) from err
        if card is None:
            raise UnknownModel(
                f"{name}@{version} has no model card; give its artifact a MODEL_CARD.md", param="version"
            )
        return card

    async def promote(self, query: PromoteQuery) -> AliasChange:
        """Run the gate and move the alias; an override promotes in spite of it, but never a wrong artifact.

        Raises:
            GateRefused: with every reason.
            InvalidInput: a field is wrong, or another change came first.
            UnknownModel: no such name.
            UnknownEvaluation: no such evaluation.
            NotReady: the registry does not answer.
        """
        reason = query.override_reason
        if reason is not None:
            reason = written_reason(reason, "override_reason", _OVERRIDE_REMEDY)
        history = await self.history(query.name)
        candidate = asked_version(history, query)
        evaluation = await self._gatherer.evaluation(query.evaluation_id)
        incumbent, stopped = incumbent_of(history, query), stopped_because(history, candidate.version)
        async with self._holder.loaded(candidate):
            evidence = await self._gatherer.evidence(candidate, incumbent, evaluation, stopped)
            checks = ask(evidence, self._policy)
            failed = failures(checks)
            if failed and (reason is None or any(check.name == "identity" for check in failed)):
                raise refusal(f"{query.name}@{query.version}", failed)
            action: Action = "override" if failed else "promote"
            change = self._change(candidate, query.alias, action, history, query.by, reason or "")
            return await self._move(replace(change, evaluation_id=query.evaluation_id, checks=checks))

    async def rollback(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        """Undo the last promotion that is not undone yet.

        Raises:
            InvalidInput: there is nothing to undo, `reason` says nothing, or the version before cannot be
                loaded.
            UnknownModel: no such name.
            NotReady: the registry does not answer.
        """
        history = await self.history(name)
        version = find_version(history.versions, version_before(history, alias) or "")
        if version is None:
            raise InvalidInput(
                f"{name}@{alias} has no version before it to go back to; promote another one", param="alias"
            )
        reason = written_reason(reason)
        async with self._holder.loaded(version):
            return await self._move(self._change(version, alias, "rollback", history, by, reason))

    async def remove_alias(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        """Take an alias away; its version stays registered, and is unloaded where nothing else needs it.

        Raises:
            InvalidInput: there is no such alias, it is the champion, `reason` says nothing, or another change
                came first.
            UnknownModel: no such name.
            NotReady: the registry does not answer.
        """
        history = await self.history(name)
        found = removable(history, alias)
        change = self._change(found, alias, "remove", history, by, written_reason(reason))
        async with self._follower.lock:
            await asyncio.to_thread(self._store.remove_alias, change)
            self._follower.drop({(name, alias)})
        self._retirement.begin(name)
        return change

    async def idle(self) -> None:
        """Return once all loading and unloading in the background has ended."""
        await self._follower.idle()
        await self._retirement.idle()

    async def _crown(self, version: ModelVersion) -> None:
        """The first champion of a name; another replica may have been faster, and is followed then."""
        nobody = ModelHistory(version.name, (), {}, ())
        try:
            await self._move(self._change(version, CHAMPION, "register", nobody, version.registered_by))
        except InvalidInput:
            history = await self.history(version.name)
            champion = find_version(history.versions, history.aliases.get(CHAMPION, ""))
            if champion is None:
                raise
            await self._loader.ensure(champion)
            await self.sync()

    async def _introduce(self, version: ModelVersion) -> None:
        """It becomes the candidate, where no alias ever stood at it; another replica may be faster once."""
        for is_last in (False, True):
            history = await self.history(version.name)
            if any(change.version == version.version for change in history.changes):
                return
            try:
                await self._move(self._change(version, CANDIDATE, "register", history, version.registered_by))
                return
            except InvalidInput:
                if is_last:
                    raise

    async def _move(self, change: AliasChange) -> AliasChange:
        """In the registry first, then here at once; other replicas follow at their next poll."""
        async with self._follower.lock:
            await asyncio.to_thread(self._store.move_alias, change)
            if self._catalog.is_loaded(change.name, change.version):  # a policy never is
                self._follower.point({(change.name, change.alias): change.version})
        if change.previous is not None:
            self._retirement.begin(change.name)
        return change

    def _version(self, name: str, manifest: Manifest, source: str, by: str) -> ModelVersion:
        return ModelVersion(
            name=name,
            version=manifest.version,
            digest=manifest.digest,
            kind=manifest.kind,
            source=source,
            registered_by=by,
            registered_at=self._now(),
            parents=manifest.parents,
        )

    def _change(
        self, to: ModelVersion, alias: str, action: Action, history: ModelHistory, by: str, reason: str = ""
    ) -> AliasChange:
        return AliasChange(
            name=to.name,
            alias=alias,
            action=action,
            previous=history.aliases.get(alias),
            version=to.version,
            by=by,
            at=self._now(),
            reason=reason,
            evaluation_id=None,
            checks=(),
        )
