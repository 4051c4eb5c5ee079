"""That nothing learns from the prompts of the comparison: seen before the first stage runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.opening import opening
from guerdon_training.convert.source_row import Place, read_rows
from guerdon_training.convert.trl import parse_prompt
from guerdon_training.pipeline.config import PipelineConfig
from guerdon_training.pipeline.wiring import half


def check_comparison(config: PipelineConfig) -> None:
    """Refuse prompts to compare on of which a stage would learn, whichever file it was given.

    Raises:
        InvalidInput: the first such prompt is named; or a file cannot be used.
    """
    check_held_out(Path(config.compare.prompts), config.compare.sources, learned_from(config))


def check_held_out(
    prompts: Path, sources: Sequence[str], learned: Sequence[tuple[Path, Sequence[str]]]
) -> None:
    """Refuse prompts that open as one that is learned from: nothing measured on them would be held out.

    Args:
        sources: of the prompts that count; empty for all.
        learned: files that training reads, each with the sources of it that count.

    Raises:
        InvalidInput: the first such prompt is named; or a file cannot be used.
    """
    known = {found: path for path, kept in learned for found, _ in _openings(path, kept)}
    for found, place in _openings(prompts, sources):
        if found in known:
            raise InvalidInput(
                f"{place}: this prompt is in {known[found]} too, which is trained on; give held-out prompts "
                "as compare.prompts",
                param="compare.prompts",
            )


def learned_from(config: PipelineConfig) -> list[tuple[Path, Sequence[str]]]:
    """What recipes read but to measure, and the sources of it that they keep.

    The pairs stand for their halves, which need not be written yet: a reward model learns from each.
    """
    of_policies = [(data, data.sources) for data in (config.sft.data, config.dpo.data, config.ppo.data)]
    halves = {Path(half(config.output, name, split)) for name in ("a", "b") for split in ("train", "valid")}
    given = [(Path(file), kept) for data, kept in of_policies for file in (data.train, data.valid) if file]
    own = [(path, kept) for path, kept in given if path not in halves]
    return [(Path(config.pairs.train), ()), (Path(config.pairs.valid), ()), *own]


def _openings(path: Path, sources: Sequence[str]) -> Iterator[tuple[str, Place]]:
    for row in read_rows(path):
        if not sources or str(row.values.get("source") or "") in sources:
            yield opening(parse_prompt(row.values.get("prompt"), row.place)), row.place
