"""Workers and drivers that are killed at a known point, by themselves: SIGKILL leaves no time to tidy up."""

import itertools
import os
import signal
import sys
from functools import partial
from pathlib import Path

from guerdon_service.bulk.local import LocalEngine
from guerdon_service.bulk.run import run_plan
from guerdon_service.bulk.worker import OpenScorer
from guerdon_service.core.query import ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.core.scorer import Scorer
from tests.bulk.data import open_model, plan_of, planned


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def open_dying(open_scorer: OpenScorer, mark: Path, at: int) -> Scorer:
    """A scorer whose process dies within its request number `at`, unless `mark` says that one has died."""
    scorer = await open_scorer()
    score, count = scorer.score, itertools.count(1)

    def maybe_die() -> None:
        if next(count) == at and not mark.exists():
            mark.touch()
            die()

    async def dying(query: ScoreQuery) -> ScoreResult:
        maybe_die()
        return await score(query)

    setattr(scorer, "score", dying)  # noqa: B010 - mypy refuses the assignment
    return scorer


def one_dies(open_scorer: OpenScorer, mark: Path, at: int = 2) -> OpenScorer:
    return partial(open_dying, open_scorer, mark, at)


async def open_dead() -> Scorer:
    """Every worker dies while it loads."""
    die()
    raise AssertionError("unreachable")


def driver_that_dies(source: str, model: str, output: str, slice_rows: int, after: int) -> None:
    """A run with two workers whose driver dies when `after` slices are finished and others are under way."""
    folder, count = Path(model), itertools.count()

    def advance(rows: int) -> None:
        if next(count) == after:  # the first call is about what was there before
            die()

    plan = plan_of([source], slice_rows, planned(folder))
    run_plan(plan, output, LocalEngine(2), open_model(folder), advance)


if __name__ == "__main__":
    driver_that_dies(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
