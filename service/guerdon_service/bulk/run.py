"""A bulk run: what is done already is skipped, the rest is done by an engine, and all of it is counted."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass

from guerdon_service.bulk.engine import Engine
from guerdon_service.bulk.output import Output
from guerdon_service.bulk.part import part_metadata
from guerdon_service.bulk.plan import Plan
from guerdon_service.bulk.worker import Job, OpenScorer


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, and what its output holds.

    num_rows, num_errors, num_tokens: of the whole output; `resumed_rows` of them were there before.
    seconds: of this run, loading models included.
    """

    engine: str
    output: str
    plan: str
    model: dict[str, str]
    num_files: int
    num_slices: int
    num_rows: int
    num_errors: int
    num_tokens: int
    resumed_slices: int
    resumed_rows: int
    seconds: float


def run_plan(
    plan: Plan, output_url: str, engine: Engine, open_scorer: OpenScorer, advance: Callable[[int], object]
) -> Summary:
    """Score what the output lacks.

    Args:
        advance: is told how many more rows are there, those of an earlier run first.

    Raises:
        GuerdonError: the output belongs to another run, or an error that concerns no single row. Slices that
            were finished stay; the next run continues.
    """
    started = time.monotonic()
    job = Job(open_scorer, output_url, plan.model, part_metadata(plan))
    output = Output(output_url)
    output.claim(plan)
    try:
        before = output.finished(plan)
        resumed_rows = sum(done.num_rows for done in before.values())
        advance(resumed_rows)
        todo = [part for part in plan.slices if part.index not in before]
        if todo:
            with closing(engine.run(job, todo)) as finished:
                for done in finished:
                    advance(done.num_rows)
        there = output.finished(plan)  # counted where it lies, not as it was told
    finally:
        output.release()
    assert len(there) == len(plan.slices), "an engine ended before its slices did"
    return Summary(
        engine=engine.name,
        output=output_url,
        plan=plan.digest,
        model=asdict(plan.model),
        num_files=len(plan.files),
        num_slices=len(plan.slices),
        num_rows=sum(done.num_rows for done in there.values()),
        num_errors=sum(done.num_errors for done in there.values()),
        num_tokens=sum(done.num_tokens for done in there.values()),
        resumed_slices=len(before),
        resumed_rows=resumed_rows,
        seconds=round(time.monotonic() - started, 3),
    )
