"""From a version and its rival to the evidence that the gate needs."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from guerdon_service.core.errors import GuerdonError, UnknownEvaluation
from guerdon_service.core.evaluation import Evaluation, EvaluationStore
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.registry import ModelVersion
from guerdon_service.registry.evidence import Evidence, Latency
from guerdon_service.registry.loader import Artifacts, Loader
from guerdon_service.registry.probe import measure_latency
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.model_scorer import ModelScorer


@dataclass(frozen=True, slots=True)
class Gatherer:
    """Gathers evidence on one replica."""

    evaluations: EvaluationStore
    catalog: Catalog
    loader: Loader
    artifacts: Artifacts

    async def evaluation(self, evaluation_id: str | None) -> Evaluation | None:
        """The one that a caller names.

        Raises:
            UnknownEvaluation: there is none of that id.
            NotReady: the store does not answer.
        """
        if evaluation_id is None:
            return None
        found = await asyncio.to_thread(self.evaluations.get, evaluation_id)
        if found is None:
            raise UnknownEvaluation(
                f"evaluation {evaluation_id[:80]!r} is not known; list them to see which are",
                param="evaluation_id",
            )
        return found

    async def evidence(
        self,
        candidate: ModelVersion,
        incumbent: ModelVersion | None,
        evaluation: Evaluation | None,
        stopped: str | None,
    ) -> Evidence:
        """Look at the artifact on disk again, and let both models answer a probe.

        An incumbent that cannot be loaded leaves its questions unasked: that must not keep its successor out.

        Raises:
            NotReady: the store does not answer.
        """
        on_disk = await asyncio.to_thread(_read, candidate, self.artifacts)
        if incumbent is not None:
            with suppress(GuerdonError):
                await self.loader.ensure(incumbent)
        ours, theirs = _scorer(candidate, self.catalog), _scorer(incumbent, self.catalog)
        return Evidence(
            candidate=candidate,
            on_disk=on_disk,
            certificate=ours.model.certificate.checks if ours else (),
            incumbent=incumbent,
            incumbent_manifest=theirs.model.manifest if theirs else None,
            evaluation=evaluation,
            others=await asyncio.to_thread(self._others, candidate, incumbent),
            latency=await _latency(ours, theirs),
            stopped=stopped,
        )

    def _others(self, candidate: ModelVersion, incumbent: ModelVersion | None) -> tuple[Evaluation, ...]:
        """Every evaluation; with its report, which lists lack, where it is of these two."""
        two = candidate.digest, incumbent.digest if incumbent else None
        return tuple(
            (self.evaluations.get(other.id) or other)
            if (other.candidate_digest, other.baseline_digest) == two
            else other
            for other in self.evaluations.all()
        )


def _read(version: ModelVersion, artifacts: Artifacts) -> Manifest | str:
    try:
        return artifacts.read(artifacts.local(version.source, version.digest), version.name)
    except GuerdonError as err:
        return err.message


def _scorer(version: ModelVersion | None, catalog: Catalog) -> ModelScorer | None:
    if version is None or not catalog.is_loaded(version.name, version.version):
        return None
    return catalog.resolve(f"{version.name}@{version.version}").scorer


async def _latency(ours: ModelScorer | None, theirs: ModelScorer | None) -> Latency | None:
    if ours is None or theirs is None:
        return None
    return await measure_latency(ours, theirs)
