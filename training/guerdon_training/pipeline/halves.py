"""Two disjoint halves of preference records: one to train on, one for a reward model that only judges."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.source_row import read_rows
from guerdon_training.convert.trl import parse_prompt
from guerdon_training.data import opening, read_pairs
from guerdon_training.record import read_records

NAMES = ("a", "b")


def half_of(cluster: str) -> str:
    """``a`` or ``b``, by a hash of the opening prompt: no prompt is in both, in any file."""
    return NAMES[hashlib.sha256(cluster.encode()).digest()[0] % 2]


def check_held_out(prompts: Path, sources: Sequence[str], pairs: Sequence[Path]) -> None:
    """Refuse prompts that open as one of the pairs does: nothing measured on them would be held out.

    Args:
        sources: of the prompts that count; empty for all.

    Raises:
        InvalidInput: the first such prompt is named.
    """
    known = {pair.cluster for path in pairs for pair in read_pairs(path, ties=True)}
    for row in read_rows(prompts):
        if sources and str(row.values.get("source") or "") not in sources:
            continue
        if opening(parse_prompt(row.values.get("prompt"), row.place)) in known:
            raise InvalidInput(
                f"{row.place}: this prompt is among the pairs that are trained on; give held-out prompts as "
                "compare.prompts",
                param="compare.prompts",
            )


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
