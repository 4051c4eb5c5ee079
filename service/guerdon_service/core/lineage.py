"""Which data a model has seen, as the lineage of its manifest (`parents`) tells by SHA-256."""

import re
from collections.abc import Iterator, Mapping

CALIBRATION = "calibration"
"""Entry of `parents` that ``guerdon calibrate`` writes: ``{"name", "version", "digest", "data_sha256"}``, of
the version that was calibrated and of the pairs."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def lineages(parents: object) -> Iterator[dict[str, str]]:
    """Digests of training data by split, of the model, then of each head that was added to it.

    Splits are ``train``, ``valid``, ``test`` and whatever else was read. Older artifacts name files instead,
    and those names say nothing.
    """
    while isinstance(parents, Mapping):
        data = parents.get("data_sha256")
        found = data.items() if isinstance(data, Mapping) else ()
        yield {str(name): d for name, d in found if isinstance(d, str) and _SHA256.fullmatch(d)}
        parents = parents.get("head")


def calibrated_on(parents: Mapping[str, object]) -> str | None:
    """Digest of the pairs that ``guerdon calibrate`` fitted on; None where it did not."""
    found = parents.get(CALIBRATION)
    digest = found.get("data_sha256") if isinstance(found, Mapping) else None
    return digest if isinstance(digest, str) else None
