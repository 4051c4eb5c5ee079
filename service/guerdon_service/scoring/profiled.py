"""A model under one of its profiles: what is the same for every request, made once."""

from dataclasses import dataclass

from guerdon_service.core.artifact import LoadedModel
from guerdon_service.core.calibration import Calibration
from guerdon_service.core.combine import Combiner, combiner
from guerdon_service.core.result import Provenance


@dataclass(frozen=True, slots=True)
class Profiled:
    """How raw scores become scores, and who gave them."""

    provenance: Provenance
    calibration: Calibration
    combined: Combiner


def profiled(model: LoadedModel, profile_name: str | None) -> Profiled:
    """`model` under a profile, None being its default one.

    Raises:
        InvalidInput: the model defines no such profile.
    """
    name, profile = model.manifest.profile(profile_name)
    provenance = Provenance(
        model.spec.name,
        model.manifest.version,
        model.manifest.digest,
        name,
        model.backend.name,
        model.backend.dtype,
    )
    return Profiled(provenance, model.manifest.calibration, combiner(model.manifest, profile))
