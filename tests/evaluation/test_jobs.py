import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput, NotReady, Overloaded, UnknownEvaluation, UnknownModel
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery, ItemScores
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.evaluation.build_report import Data, build_report
from guerdon_service.evaluation.read import data_sha256, read_items
from guerdon_service.evaluation.report import to_json
from guerdon_service.evaluation.run import score_files
from guerdon_service.evaluation.score import Asked
from guerdon_service.evaluation.service import MAX_OPEN
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.evaluation.data import pairs, write
from tests.evaluation.replica import NAMES, Gate, Replica, running_replica

ROOT = Path(__file__).parents[2]
ONE = EvaluationQuery("new", "pairs.jsonl.gz")
BOTH = EvaluationQuery("new", "pairs.jsonl.gz", baseline="old")
CHANGED = replace(BOTH, robustness=60)
NUM_TRANSFORMS = 8
HALFWAY = 75
"""Forwards of small batches, of about 150 in all, after which a replica hangs."""
PROBES = 6
"""Most conversations that are no data: the one that pins a version, once per model and start."""


def num_scored(*replicas: Replica) -> int:
    return sum(len(seen) for replica in replicas for seen in replica.seen.values())


def num_scored_again(*replicas: Replica) -> int:
    """Conversations scored more than once; the probe is not data."""
    again = 0
    for name in ("old", "new"):
        seen = Counter(s for replica in replicas for s in replica.seen[name])
        del seen["HelloHello.".encode("utf-32-le")]
        again += sum(count - 1 for count in seen.values())
    return again


async def directly(replica: Replica, folder: Path, robustness: int = 0) -> dict[str, Any]:
    """The report without a job."""
    files = (folder / "pairs.jsonl.gz",)
    new, old = [
        await score_files(
            replica.scoring, Asked(name, None), files, robustness=robustness, progress=lambda _: None
        )
        for name in ("new", "old")
    ]
    return to_json(build_report(Data(files, data_sha256(files)), new, old, BOTH.margin))


async def test_a_job_gives_what_the_process_itself_gives(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder) as replica:
        started = await replica.evaluator.start(BOTH)
        assert (started.state, started.candidate, started.baseline) == ("queued", "new@1", "old@1")
        assert (started.candidate_digest, started.baseline_digest) == ("digest-of-new", "digest-of-old")
        done = await replica.ended(started.id)
        assert num_scored_again(replica) == 0
        assert (done.state, done.done, done.total, done.error) == ("done", 600, 600, None)
        assert done.report == await directly(replica, folder)
        kept = store.scores(started.id, "new@1")
        for item in read_items([folder / "pairs.jsonl.gz"]):
            asked = ScoreQuery(tuple(item.conversations()), Options("new"))
            scores = (await replica.scoring.score(asked)).scores
            assert tuple(kept[item.id].rewards or ()) == tuple(s.reward for s in scores)


async def test_progress_is_followed_from_start_to_end(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder) as replica:
        started = await replica.evaluator.start(ONE)
        shown = [e async for e in replica.evaluator.follow(started.id)]
    assert shown[-1].state == "done"
    assert [e.done for e in shown] == sorted(e.done for e in shown)
    assert len({e.done for e in shown}) > 2
    assert shown[-1].report is not None and shown[0].report is None


async def test_a_tenant_has_few_open_jobs_and_others_have_theirs(
    store: SqlEvaluationStore, folder: Path
) -> None:
    async with running_replica(store, folder, works=False) as replica:
        asked = [replica.evaluator.start(replace(ONE, by="greedy")) for _ in range(2 * MAX_OPEN)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        started = [one for one in found if isinstance(one, Evaluation)]
        refused = [one for one in found if isinstance(one, Overloaded)]
        assert (len(started), len(refused)) == (MAX_OPEN, MAX_OPEN)
        assert refused[0].retry_after_ms and "cancel one" in refused[0].message
        await replica.evaluator.start(replace(ONE, by="another"))
        await replica.evaluator.cancel(started[0].id)
        await replica.evaluator.start(replace(ONE, by="greedy"))
        with pytest.raises(Overloaded):
            await replica.evaluator.start(replace(ONE, by="greedy"))


async def test_another_replica_follows_too(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder) as worker, running_replica(store, folder, works=False) as other:
        started = await other.evaluator.start(ONE)
        assert (await other.ended(started.id)).state == "done"
        assert num_scored(other) <= PROBES
        assert num_scored_again(worker) == 0


async def test_a_killed_worker_is_continued_and_the_numbers_are_the_same(
    store: SqlEvaluationStore, folder: Path
) -> None:
    async with running_replica(store, folder, HALFWAY) as first, running_replica(store, folder) as second:
        await second.kill()
        started = await first.evaluator.start(BOTH)
        await asyncio.to_thread(first.gate.stuck.wait)
        await first.kill()
        before = await first.evaluator.get(started.id)
        assert before.state == "running"
        assert 0 < before.done < 600
        second.work()
        done = await second.ended(started.id)
        assert (done.state, done.done, done.total) == ("done", 600, 600)
        assert num_scored(second) <= 2 * (600 - before.done) + PROBES
        assert done.report == await directly(second, folder)


class Tripwire(SqlEvaluationStore):
    """Holds all forwards behind `gate` once scores are kept under a key that begins with `key`."""

    gate = Gate()
    key = "nothing"

    def add_scores(self, evaluation_id: str, worker: str, model: str, scores: Sequence[ItemScores]) -> None:
        super().add_scores(evaluation_id, worker, model, scores)
        if model.startswith(self.key):
            self.gate.left = 0


@pytest.mark.parametrize("side", ["new", "old"])
async def test_changed_responses_are_scored_once_though_the_worker_is_killed(
    store: SqlEvaluationStore, folder: Path, url: str, side: str
) -> None:
    """While it scores what was changed, of either model."""
    wire = Tripwire(open_database(url))
    async with running_replica(wire, folder) as first, running_replica(store, folder, works=False) as second:
        wire.gate, wire.key = first.gate, f"{side}@1 changed"
        started = await first.evaluator.start(CHANGED)
        await asyncio.to_thread(first.gate.stuck.wait)
        await first.kill()
        before = await first.evaluator.get(started.id)
        plain = sum(len(store.scores(started.id, f"{name}@1")) for name in NAMES)
        assert (before.state, plain) == ("running", 300 if side == "new" else 600)
        assert 0 < before.done - plain < (60 if side == "new" else 120)
        second.work()
        done = await second.ended(started.id)
        assert (done.state, done.done, done.total) == ("done", 720, 720)
        left = 2 * (600 - plain) + NUM_TRANSFORMS * (120 - (before.done - plain))
        assert num_scored(second) <= left + PROBES
        assert done.report == await directly(second, folder, robustness=60)
        assert len((done.report or {})["candidate"]["robustness"]) == NUM_TRANSFORMS
        seen = num_scored(second)
        again = await second.ended((await second.evaluator.start(CHANGED)).id)
        assert again.report == done.report
        assert num_scored(second) - seen <= PROBES  # kept scores of an earlier evaluation, changed ones too


async def test_a_process_killed_for_good_is_continued_elsewhere(
    store: SqlEvaluationStore, folder: Path, url: str
) -> None:
    async with running_replica(store, folder, works=False) as other:
        started = await other.evaluator.start(BOTH)
        command = ("-m", "tests.evaluation.replica", url, str(folder), str(HALFWAY))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"stuck\n"
        process.kill()
        await process.wait()
        before = await other.evaluator.get(started.id)
        assert before.state == "running"
        assert 0 < before.done < 600
        other.work()
        done = await other.ended(started.id)
        assert (done.state, done.done) == ("done", 600)
        assert num_scored(other) <= 2 * (600 - before.done) + PROBES


async def test_an_ensemble_is_evaluated_with_its_members_mean_slope(
    store: SqlEvaluationStore, folder: Path
) -> None:
    async with running_replica(store, folder) as replica:
        await replica.scoring.load_model(ModelSpec("pair", "", members=("old", "new")))
        started = await replica.evaluator.start(EvaluationQuery("pair", "pairs.jsonl.gz", "new"))
        done = await replica.ended(started.id)
        assert started.candidate == "pair@1+1"
        assert done.report is not None
        assert done.report["candidate"]["calibration"]["slope"] == 0.5
        item = next(read_items([folder / "pairs.jsonl.gz"]))
        score = await replica.scoring.score(ScoreQuery(tuple(item.conversations()), Options("pair")))
        kept = store.scores(started.id, "pair@1+1")[item.id]
        assert tuple(kept.rewards or ()) == tuple(s.reward for s in score.scores)
        assert tuple(kept.stds or ()) == tuple(s.std for s in score.scores)


async def test_two_replicas_never_run_one_job_twice(store: SqlEvaluationStore, folder: Path) -> None:
    names = [f"part-{i}.jsonl" for i in range(6)]
    for i, name in enumerate(names):
        write(folder / name, pairs(80, seed=i + 1))
    async with running_replica(store, folder) as first, running_replica(store, folder) as second:
        started = [await first.evaluator.start(EvaluationQuery("new", name, "old")) for name in names]
        done = [await second.ended(e.id) for e in started]
        assert [e.state for e in done] == ["done"] * 6
        assert num_scored_again(first, second) == 0


async def test_a_lost_lease_stops_the_worker(store: SqlEvaluationStore, folder: Path) -> None:
    """A worker that hung past its lease writes nothing once another one has the job."""
    async with running_replica(store, folder, num_forwards=20) as first:
        started = await first.evaluator.start(ONE)
        await asyncio.to_thread(first.gate.stuck.wait)
        taken = store.claim("thief", now=10**12, lease_s=10**6)
        assert taken is not None and taken.id == started.id
        first.gate.open()
        again = await first.evaluator.start(EvaluationQuery("old", "pairs.jsonl.gz"))
        assert (await first.ended(again.id)).state == "done"  # it went on to the next job
        assert (await first.evaluator.get(started.id)).state == "running"
        assert (await first.evaluator.get(started.id)).report is None


async def test_cancel_stops_the_work_and_keeps_the_scores(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder, num_forwards=HALFWAY) as replica:
        started = await replica.evaluator.start(BOTH)
        await asyncio.to_thread(replica.gate.stuck.wait)
        cancelled = await replica.evaluator.cancel(started.id)
        assert cancelled.state == "cancelled"
        assert (await replica.ended(started.id)).state == "cancelled"
        assert store.scores(started.id, "new@1")
        replica.gate.open()
        following = await replica.evaluator.start(ONE)
        assert (await replica.ended(following.id)).state == "done"
        with pytest.raises(NotReady, match="cancelled"):
            await replica.evaluator.report(started.id, "html")
        assert (await replica.evaluator.cancel(following.id)).state == "done"
        assert [e.id for e in await replica.evaluator.all()] == [following.id, started.id]


async def test_kept_scores_are_reused_instead_of_scored_again(
    store: SqlEvaluationStore, folder: Path
) -> None:
    async with running_replica(store, folder) as replica:
        for name in ("new", "old"):
            await replica.ended((await replica.evaluator.start(EvaluationQuery(name, "pairs.jsonl.gz"))).id)
        before = num_scored(replica)
        done = await replica.ended((await replica.evaluator.start(BOTH)).id)
        assert done.report is not None and done.report["comparison"]["num_items"] == 300
        assert done.done == done.total == 600
        assert num_scored(replica) - before <= PROBES
        other = EvaluationQuery("new", "pairs.jsonl.gz", profile="both")
        await replica.ended((await replica.evaluator.start(other)).id)
        both = store.all()[0]
        assert both.state == "done"
        assert store.scores(both.id, "new@1") != store.scores(done.id, "new@1")


class Holed(SqlEvaluationStore):
    """Knows of one evaluation that one item was refused."""

    holed = ""

    def scores(self, evaluation_id: str, model: str) -> dict[str, ItemScores]:
        """As the store."""
        found = super().scores(evaluation_id, model)
        return found | {"pair-7": ItemScores("pair-7", None)} if evaluation_id == self.holed else found


async def test_a_refusal_is_not_taken_over_from_an_earlier_evaluation(url: str, folder: Path) -> None:
    database = open_database(url)
    holed = Holed(database)
    async with running_replica(holed, folder) as replica:
        first = await replica.evaluator.start(ONE)
        holed.holed = first.id
        assert ((await replica.ended(first.id)).report or {})["candidate"]["num_refused"] == 1
        again = await replica.ended((await replica.evaluator.start(ONE)).id)
        assert (again.done, (again.report or {})["candidate"]["num_refused"]) == (300, 0)
    database.close()


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/passwd",
        "sub/pairs.jsonl",
        "..",
        ".",
        "",
        ".hidden",
        "link",
        "a\0b",
        "missing",
        "x" * 256,
        "é" * 200,
        "\ud800",
    ],
)
async def test_no_data_set_outside_the_folder(store: SqlEvaluationStore, folder: Path, name: str) -> None:
    write(folder.parent / "secret", pairs(3))
    write(folder / ".hidden", pairs(3))
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "sub").mkdir()
    write(folder / "sub" / "pairs.jsonl", pairs(3))
    async with running_replica(store, folder, works=False) as replica:
        with pytest.raises(InvalidInput) as caught:
            await replica.evaluator.start(EvaluationQuery("new", name))
    assert caught.value.param == "dataset"
    assert store.all() == ()


async def test_what_cannot_be_evaluated_is_refused_at_once(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder, works=False) as replica:
        start, data = replica.evaluator.start, "pairs.jsonl.gz"
        with pytest.raises(UnknownModel):
            await start(EvaluationQuery("other", data))
        with pytest.raises(InvalidInput, match="profile"):
            await start(EvaluationQuery("new", data, profile="other"))
        with pytest.raises(InvalidInput, match="the candidate itself"):
            await start(EvaluationQuery("new", data, baseline="new"))
        for margin in (-0.1, 1.0, float("nan")):
            with pytest.raises(InvalidInput, match="margin"):
                await start(EvaluationQuery("new", data, margin=margin))
        with pytest.raises(InvalidInput, match="robustness is -1"):
            await start(EvaluationQuery("new", data, robustness=-1))
        report = partial(replica.evaluator.report, format="html")
        for ask in (replica.evaluator.get, replica.evaluator.cancel, report):
            with pytest.raises(UnknownEvaluation):
                await ask("nonsense")
        with pytest.raises(UnknownEvaluation):
            async for _ in replica.evaluator.follow("nonsense"):
                pass
    assert store.all() == ()


async def test_a_failure_says_what_to_do(store: SqlEvaluationStore, folder: Path) -> None:
    write(folder / "bad.jsonl", [*pairs(5), {"prompt": "p"}])
    write(folder / "ties.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b", "label": "tie"}])
    write(folder / "long.jsonl", [{"prompt": "p", "chosen": "a" * 99, "rejected": "b" * 99}])
    reasons = {
        "bad.jsonl": "bad.jsonl:6 is no",
        "ties.jsonl": "only ties",
        "long.jsonl": "refused every item",
    }
    async with running_replica(store, folder) as replica:
        for name, reason in reasons.items():
            ended = await replica.ended((await replica.evaluator.start(EvaluationQuery("new", name))).id)
            assert ended.state == "failed"
            assert reason in (ended.error or "")
            with pytest.raises(NotReady, match=r"is failed: "):
                await replica.evaluator.report(ended.id, "html")


async def test_data_that_changed_meanwhile_fails(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder, works=False) as replica:
        started = await replica.evaluator.start(ONE)
        write(folder / "pairs.jsonl.gz", pairs(4))
        replica.work()
        ended = await replica.ended(started.id)
    assert ended.state == "failed"
    assert "has changed since" in (ended.error or "")


async def test_a_finished_evaluation_has_a_page(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder, num_forwards=20) as replica:
        started = await replica.evaluator.start(BOTH)
        with pytest.raises(NotReady, match="once it is done"):
            await replica.evaluator.report(started.id, "html")
        replica.gate.open()
        await replica.ended(started.id)
        page = await replica.evaluator.report(started.id, "html")
    assert page.startswith("<!doctype html>")
    assert "new@1" in page and "old@1" in page
