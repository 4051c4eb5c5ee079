"""Evaluate in this process, without a job: the same scores, the same measures, the same report."""

from collections.abc import Callable, Iterator
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.streams import closed_after
from guerdon_service.evaluation.build_report import Contender
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.read import chunks, read_items
from guerdon_service.evaluation.robustness import PROBE_CHUNK, check_robustness, measure_robustness, probes
from guerdon_service.evaluation.score import CHUNK_ITEMS, Asked, pin, score_chunks, served_slope
from guerdon_service.scoring.service import ScoringService


async def score_files(
    service: ScoringService,
    asked: Asked,
    files: tuple[Path, ...],
    *,
    robustness: int = 0,
    progress: Callable[[int], object],
) -> Contender:
    """Every item of the files under one model.

    Args:
        robustness: pairs whose chosen response is also scored changed in several ways; 0: none.
        progress: told how many more items have been scored, changed ones included.

    Raises:
        GuerdonError: no such model or profile, or the files are not as they should be.
    """
    check_robustness(robustness)
    model = await pin(service, asked)

    async def scored(items: Iterator[Item], size: int) -> dict[str, ItemScores]:
        todo, kept = chunks(items, size), dict[str, ItemScores]()
        found = score_chunks(service, asked, model.digest, lambda: next(todo, []))
        async with closed_after(found) as arriving:
            async for scores in arriving:
                kept.update((s.item_id, s) for s in scores)
                progress(len(scores))
        return kept

    kept = await scored(read_items(files), CHUNK_ITEMS)
    changed = await scored(probes(files, robustness), PROBE_CHUNK)
    rows = measure_robustness(files, robustness, kept, changed)
    return Contender(model, served_slope(service, asked.model), lambda: kept, rows)


def check_different(candidate: Contender, baseline: Contender) -> None:
    """Raise `InvalidInput` where both are one model under one profile, back end and dtype."""
    first, second = ((m.digest, m.profile, m.backend, m.dtype) for m in (candidate.model, baseline.model))
    if first == second:
        raise InvalidInput("--against is the very model of --model; give another one", param="--against")
