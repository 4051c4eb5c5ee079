"""Two disjoint halves of preference records: one to train on, one for a reward model that only judges."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.source_row import Place, read_rows
from guerdon_training.convert.trl import parse_prompt
from guerdon_training.data import opening, read_pairs
from guerdon_training.record import read_records

NAMES = ("a", "b")


def half_of(cluster: str) -> str:
    """``a`` or ``b``, by a hash of the opening prompt: no prompt is in both, in any file."""
    return NAMES[hashlib.sha256(cluster.encode()).digest()[0] % 2]


def check_held_out(
    prompts: Path, sources: Sequence[str], learned: Sequence[tuple[Path, Sequence[str]]]
) -> None:
    """Refuse prompts that open as one that is learned from: nothing measured on them would be held out.

    Args:
        sources: of the prompts that count; empty for all.
        learned: files that training reads, each with the sources of it that count.

    Raises:
        InvalidInput: the first such prompt is named.
    """
    known = {found: path for path, kept in learned for found, _ in _openings(path, kept)}
    for found, place in _openings(prompts, sources):
        if found in known:
            raise InvalidInput(
                f"{place}: this prompt is in {known[found]} too, which is trained on; give held-out prompts "
                "as compare.prompts",
                param="compare.prompts",
            )


def _openings(path: Path, sources: Sequence[str]) -> Iterator[tuple[str, Place]]:
    for row in read_rows(path):
        if not sources or str(row.values.get("source") or "") in sources:
            yield opening(parse_prompt(row.values.get("prompt"), row.place)), row.place


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
