"""A process that runs a recipe twice under each tracker, as the pipeline runs several, and reads it all back.

python -m tests.training_policy.tracked CONFIG: TRACKER-RUN.json beside the runs, from a step to its figures.
"""

import json
import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from guerdon_training.sft import train_sft
from guerdon_training.tracking import TRACKERS, tracking

RUNS = ("first", "second")
Steps = dict[int, dict[str, float]]


def main(config: Path) -> None:
    """Into the working folder."""
    for tracker in TRACKERS:
        names = [f"{tracker}-{run}" for run in RUNS]
        with tracking(tracker, Path("runs")):
            for name in names:
                train_sft(config, [f"output={name}", "optim.epochs=1"])
        for name in names:
            Path(f"{name}.json").write_text(json.dumps(READERS[tracker](name)), "utf-8")


def tensorboard(run: str) -> Steps:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(f"runs/{run}")
    events.Reload()
    return _by_step((e.step, tag, e.value) for tag in events.Tags()["scalars"] for e in events.Scalars(tag))


def mlflow(run: str) -> Steps:
    from mlflow import MlflowClient

    client = MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name(run).experiment_id])
    assert found.info.status == "FINISHED"
    histories = [client.get_metric_history(found.info.run_id, name) for name in found.data.metrics]
    return _by_step((m.step, m.key, m.value) for history in histories for m in history)


def wandb(run: str) -> Steps:
    from wandb.proto.wandb_internal_pb2 import Record

    files = [
        [Record.FromString(x) for x in _records(path)] for path in Path("wandb").glob("offline-run-*/*.wandb")
    ]
    (found,) = [file for file in files if any(r.run.project == run for r in file)]
    assert found[-1].exit.exit_code == 0
    items = [(r.history.step.num, item) for r in found if r.HasField("history") for item in r.history.item]
    named = [
        (step, "/".join(item.nested_key) or item.key, json.loads(item.value_json)) for step, item in items
    ]
    return _by_step((step, name, value) for step, name, value in named if not name.startswith("_"))


def trackio(run: str) -> Steps:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    (found,) = Api().runs(run)
    logs = SQLiteStorage.get_logs(run, found.name)
    return {line.pop("step"): {k: v for k, v in line.items() if k != "timestamp"} for line in logs}


READERS: dict[str, Callable[[str], Steps]] = {
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
    "trackio": trackio,
}


def _by_step(figures: Iterable[tuple[int, str, float]]) -> Steps:
    steps: Steps = defaultdict(dict)
    for step, name, value in figures:
        steps[step][name] = value
    return steps


def _records(path: Path) -> Iterator[bytes]:
    """Of a LevelDB log, which W&B writes behind 7 bytes of its own and gives no reader for."""
    data, whole = path.read_bytes(), b""
    block, place = 32768, 7
    while place + 7 <= len(data):
        if block - place % block < 7:  # no room for a head: the rest of the block is empty
            place += block - place % block
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # all of a record, or its last part
            yield whole
            whole = b""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
