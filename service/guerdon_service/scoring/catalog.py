"""The models that are loaded now, each with its own queue; loading and unloading at run time."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from guerdon_service.core.artifact import LoadedModel, ModelInfo, ModelSpec
from guerdon_service.core.errors import GuerdonError, InvalidInput, NotReady, UnknownModel
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import Cache, Observer
from guerdon_service.scoring.model_scorer import ModelScorer

log = logging.getLogger(__name__)

LoadModel = Callable[[ModelSpec], LoadedModel]
"""Blocking: read, check, load and certify one model. Raises a `GuerdonError` that says why not."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """What is known of one name; exactly one of scorer and failure is set once loading has ended."""

    spec: ModelSpec
    scorer: ModelScorer | None = None
    failure: str | None = None

    @property
    def state(self) -> str:
        if self.failure is not None or (self.scorer and not self.scorer.engine.is_healthy):
            return "failed"
        return "ready" if self.scorer or self.spec.members else "loading"


class Catalog:
    """Models by name. All methods run on the event loop; `load_model` works in a thread."""

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
        self._slots: dict[str, _Slot] = {}

    async def load(self, spec: ModelSpec) -> ModelInfo:
        """Load under a new name; the name answers `NotReady` until it is ready.

        Raises:
            InvalidInput: the name is taken, an ensemble's member is unknown, or the artifact is refused.
        """
        if spec.name in self._slots and self._slots[spec.name].state != "failed":
            raise InvalidInput(f"model {spec.name} is loaded already; unload it first", param="name")
        if spec.members:
            self._check_members(spec)
        self._slots[spec.name] = _Slot(spec)
        self._default = self._default or spec.name
        if not spec.members:
            await self._fill(spec)
        return self.info(spec.name)

    async def unload(self, name: str) -> None:
        """Answer what waits, then free the model.

        Raises:
            UnknownModel: no such model.
            InvalidInput: an ensemble still needs it.
        """
        slot = self._slot(name)
        users = [s.spec.name for s in self._slots.values() if name in s.spec.members]
        if users:
            raise InvalidInput(
                f"model {name} is a member of {', '.join(users)}; unload that first", param="name"
            )
        del self._slots[name]
        self._observer.model_ready(name, False)
        if slot.scorer is not None:
            await slot.scorer.close()

    def spec(self, name: str | None) -> ModelSpec:
        """Resolve a name, None being the default model.

        Raises:
            UnknownModel: no such model.
        """
        return self._slot(name).spec

    def scorer(self, name: str | None) -> ModelScorer:
        """The scorer of one model.

        Raises:
            UnknownModel: no such model.
            NotReady: it is loading or has failed.
        """
        slot = self._slot(name)
        if slot.scorer is None or slot.state != "ready":
            why = slot.failure or "ask again when GET /health/ready answers 200"
            raise NotReady(f"model {slot.spec.name} is {slot.state}: {why}", retry_after_ms=1000)
        return slot.scorer

    def infos(self) -> tuple[ModelInfo, ...]:
        """All models, in the order of loading."""
        return tuple(self.info(name) for name in self._slots)

    def info(self, name: str) -> ModelInfo:
        """One model.

        Raises:
            UnknownModel: no such model.
        """
        slot = self._slot(name)
        model = slot.scorer.model if slot.scorer else None
        manifest = model.manifest if model else None
        return ModelInfo(
            name=slot.spec.name,
            version=manifest.version if manifest else "",
            digest=manifest.digest if manifest else "",
            backend=slot.spec.backend,
            dtype=slot.spec.dtype,
            heads=tuple(h.name for h in manifest.heads) if manifest else (),
            profiles=tuple(manifest.profiles) if manifest else (),
            max_tokens=manifest.max_tokens if manifest else 0,
            state=slot.state,
            default=slot.spec.name == self._default,
            inferred=manifest.inferred if manifest else (),
            certificate=model.certificate.checks if model else (),
        )

    def unready_reason(self) -> str:
        """Empty when every model is ready, else what is not, in one line."""
        if not self._slots:
            return "no model is loaded"
        return "; ".join(
            f"model {s.spec.name} is {s.state}" + (f": {s.failure}" if s.failure else "")
            for s in self._slots.values()
            if s.state != "ready"
        )

    async def close(self) -> None:
        """Free every model, flush the cache, end the tokenizing pool: the catalog owns all three."""
        for name in [n for n, s in self._slots.items() if s.spec.members] + list(self._slots):
            if name in self._slots:
                await self.unload(name)
        await self._cache.close()
        self._pool.shutdown(wait=False)

    async def _fill(self, spec: ModelSpec) -> None:
        try:
            model = await asyncio.get_running_loop().run_in_executor(None, self._load_model, spec)
        except GuerdonError as err:
            log.error("model refused", extra={"model": spec.name, "reason": err.message})
            self._slots[spec.name] = _Slot(spec, failure=err.message)
            self._observer.model_ready(spec.name, False)
            raise
        if spec.name not in self._slots:  # unloaded while it was loading
            model.backend.close()
            return
        scorer = ModelScorer(model, self._limits, self._cache, self._pool, self._observer)
        self._slots[spec.name] = _Slot(spec, scorer=scorer)
        self._observer.model_ready(spec.name, True)

    def _check_members(self, spec: ModelSpec) -> None:
        if len(spec.members) < 2:
            raise InvalidInput("members needs two models or more", param="members")
        for member in spec.members:
            if self._slot(member).spec.members:
                raise InvalidInput(
                    f"member {member} is an ensemble itself; name its members", param="members"
                )

    def _slot(self, name: str | None) -> _Slot:
        wanted = name or self._default
        if wanted is None or wanted not in self._slots:
            raise UnknownModel(
                f"model {wanted!r} is not loaded; loaded are: {', '.join(self._slots) or 'none'}",
                param="model",
            )
        return self._slots[wanted]
