"""Two disjoint halves of preference records: one to train on, one for a reward model that only judges."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import read_pairs
from guerdon_training.record import read_records

NAMES = ("a", "b")


def half_of(cluster: str) -> str:
    """``a`` or ``b``, by a hash of the opening prompt: no prompt is in both, in any file."""
    return NAMES[hashlib.sha256(cluster.encode()).digest()[0] % 2]


def write_halves(source: Path, targets: Mapping[str, Path]) -> dict[str, int]:
    """Write each record of `source`, as it is, to the file of its half; the same records give the same bytes.

    Returns:
        Records by half.

    Raises:
        InvalidInput: `source` cannot be used, or a half would be empty.
    """
    clusters = {pair.prompt: pair.cluster for pair in read_pairs(source, ties=True)}
    lines: dict[str, list[str]] = {name: [] for name in NAMES}
    for record in read_records(source):
        name = half_of(clusters[record.prompt()])
        lines[name].append(json.dumps(dict(record.values), ensure_ascii=False) + "\n")
    for name, found in lines.items():
        if not found:
            raise InvalidInput(f"half {name} of {source} would be empty; give more pairs", param="pairs")
        targets[name].parent.mkdir(parents=True, exist_ok=True)
        targets[name].write_bytes(gzip.compress("".join(found).encode(), mtime=0))
    return {name: len(found) for name, found in lines.items()}
