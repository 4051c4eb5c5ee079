"""From a version and its rival to the evidence that the gate needs."""

import asyncio
from contextlib import suppress

from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.evaluation import Evaluation
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.registry import ModelVersion
from guerdon_service.registry.evidence import Evidence, Latency
from guerdon_service.registry.loader import Artifacts, Loader
from guerdon_service.registry.probe import measure_latency
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.model_scorer import ModelScorer


async def gather(
    candidate: ModelVersion,
    incumbent: ModelVersion | None,
    evaluation: Evaluation | None,
    stopped: str | None,
    *,
    catalog: Catalog,
    loader: Loader,
    artifacts: Artifacts,
) -> Evidence:
    """Look at the artifact on disk again, and let both models answer a probe.

    An incumbent that cannot be loaded leaves its questions unasked: that must not keep its successor out.
    """
    on_disk = await asyncio.to_thread(_read, candidate, artifacts)
    if incumbent is not None:
        with suppress(GuerdonError):
            await loader.ensure(incumbent)
    ours, theirs = _scorer(candidate, catalog), _scorer(incumbent, catalog)
    return Evidence(
        candidate=candidate,
        on_disk=on_disk,
        certificate=ours.model.certificate.checks if ours else (),
        incumbent=incumbent,
        incumbent_manifest=theirs.model.manifest if theirs else None,
        evaluation=evaluation,
        latency=await _latency(ours, theirs),
        stopped=stopped,
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
