"""One version of a model in the catalog: loading, ready or failed."""

from dataclasses import dataclass

from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.errors import NotReady
from guerdon_service.scoring.model_scorer import ModelScorer


@dataclass(frozen=True, slots=True)
class Slot:
    """What is known of one version; of scorer and failure one is set once loading has ended.

    An ensemble has neither: it is ready as it is, and its members are resolved for every request.

    label: its name in the metrics; empty while they tell nothing of it.
    """

    spec: ModelSpec
    scorer: ModelScorer | None = None
    failure: str | None = None
    label: str = ""

    @property
    def state(self) -> str:
        """``loading``, ``ready`` or ``failed``."""
        if self.failure is not None or (self.scorer and not self.scorer.engine.is_healthy):
            return "failed"
        return "ready" if self.scorer or self.spec.members else "loading"

    def is_ready(self) -> bool:
        """Whether it can answer now."""
        return self.state == "ready"

    def ready_scorer(self) -> ModelScorer:
        """The scorer.

        Raises:
            NotReady: it is loading or has failed.
        """
        if self.scorer is None or not self.is_ready():
            why = self.failure or "ask again when GET /health/ready answers 200"
            raise NotReady(f"model {self.spec.name} is {self.state}: {why}", retry_after_ms=1000)
        return self.scorer

    def info(self, version: str, aliases: tuple[str, ...], *, default: bool) -> ModelInfo:
        """What `GET /v1/models` tells of it; `version` is what it is loaded as, empty while unknown."""
        model = self.scorer.model if self.scorer else None
        manifest = model.manifest if model else None
        return ModelInfo(
            name=self.spec.name,
            version=version,
            digest=manifest.digest if manifest else "",
            backend=self.spec.backend,
            dtype=self.spec.dtype,
            heads=tuple(h.name for h in manifest.heads) if manifest else (),
            profiles=tuple(manifest.profiles) if manifest else (),
            max_tokens=manifest.max_tokens if manifest else 0,
            state=self.state,
            default=default,
            inferred=manifest.inferred if manifest else (),
            certificate=model.certificate.checks if model else (),
            aliases=aliases,
        )
