"""Many items in bounded memory: what is kept of one is a few numbers."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guerdon_service.core.evaluation import EvaluationQuery
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.evaluation.data import write
from tests.evaluation.replica import running_replica

ROOT = Path(__file__).parents[2]
NUM_PAIRS = 2_000
MAX_GROWTH_MB = 30.0
"""Holding the texts of these pairs would take more than twice that."""


def records(count: int) -> Iterator[dict[str, Any]]:
    """Pairs with a prompt of 40,000 characters, two to a prompt."""
    for i in range(count):
        prompt = [{"role": "user", "content": f"Question {i // 2}? " + "context " * 5000}]
        yield {"id": f"pair-{i}", "prompt": prompt, "chosen": f"good {i}", "rejected": f"bad {i}"}


async def main(count: int) -> None:
    """Evaluate `count` pairs against a baseline by a job, after a few to warm up; print its share of RSS."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_large(folder / "many.jsonl", count)
        write(folder / "few.jsonl", records(200))
        database = open_database(f"sqlite:///{folder / 'state.db'}")
        async with running_replica(SqlEvaluationStore(database), folder, record=False) as replica:
            for data in ("few.jsonl", "many.jsonl"):
                before = peak_mb()
                started = await replica.evaluator.start(EvaluationQuery("new", data, "old"))
                ended = await replica.ended(started.id)
                assert ended.state == "done", ended.error
        sys.stdout.write(json.dumps({"done": ended.done, "growth_mb": peak_mb() - before}))


def write_large(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for record in records(count):
            file.write(json.dumps(record) + "\n")


def peak_mb() -> float:
    """Highest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def test_memory_grows_by_little() -> None:
    command = [sys.executable, "-m", "tests.evaluation.test_memory", str(NUM_PAIRS)]
    found = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    assert found["done"] == 2 * NUM_PAIRS
    assert found["growth_mb"] < MAX_GROWTH_MB


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
