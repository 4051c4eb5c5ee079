"""Workers and drivers that are killed at a known point, by themselves: SIGKILL leaves no time to tidy up."""

import asyncio
import itertools
import os
import signal
import sys
from functools import partial
from pathlib import Path

from guerdon_service.bulk.engine import Engine
from guerdon_service.bulk.local import LocalEngine
from guerdon_service.bulk.run import run_plan
from guerdon_service.bulk.worker import OpenScorer
from guerdon_service.core.query import ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.core.scorer import Scorer
from tests.bulk.data import open_fake, plan_of


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


def engine_of(name: str) -> Engine:
    if name == "local":
        return LocalEngine(2)
    from guerdon_service.bulk.ray_engine import RayEngine  # here: workers over fakes start without Ray

    return RayEngine(2)


def driver_that_dies(engine: str, source: str, output: str) -> None:
    """A run by two workers whose driver dies when 3 slices of 8 rows are finished, others being under way."""
    count = itertools.count()

    def advance(rows: int) -> None:
        if next(count) == 3:  # the first call is about what was there before
            die()

    run_plan(plan_of([source], 8), output, engine_of(engine), partial(open_stuck, open_fake), advance)


async def open_stuck(open_scorer: OpenScorer) -> Scorer:
    """A scorer that never answers its third request: two workers finish 4 slices, however fast they are."""
    scorer = await open_scorer()
    score, count = scorer.score, itertools.count(1)

    async def stuck(query: ScoreQuery) -> ScoreResult:
        if next(count) > 2:
            await asyncio.Event().wait()
        return await score(query)

    setattr(scorer, "score", stuck)  # noqa: B010 - mypy refuses the assignment
    return scorer


if __name__ == "__main__":
    from tests.bulk.deaths import driver_that_dies as run  # not __main__'s: workers must find it by name

    run(*sys.argv[1:])
