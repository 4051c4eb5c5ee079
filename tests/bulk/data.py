"""Inputs and runs that the tests of bulk scoring share."""

import gzip
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from guerdon_service.bulk.inputs import expand, scan
from guerdon_service.bulk.plan import Plan, PlannedModel, make_plan
from guerdon_service.bulk.worker import OpenScorer
from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import ScoreQuery
from guerdon_service.core.scorer import Scorer
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from tests.fakes import load_fake, manifest

FAKE = PlannedModel("fake", "1", manifest("fake").digest, "quality", "torch", "float32", "cpu")

Record = dict[str, Any]


def records(count: int, start: int = 0) -> list[Record]:
    """Records of many lengths, with prompts and with messages."""
    made: list[Record] = []
    for i in range(start, start + count):
        text = f"question {i} " + "and so on " * (i % 7)
        turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]
        prompt = {"prompt": text} if i % 3 else {"messages": turns}
        made.append(prompt | {"id": f"r{i}", "response": f"answer {i * i} " * (1 + i % 5), "ignored": i})
    return made


def conversation(record: Record) -> Conversation:
    turns = record.get("messages") or [{"role": "user", "content": record["prompt"]}]
    return Conversation(tuple(Message(**turn) for turn in turns), record["response"])


def write_lines(path: Path, values: Sequence[Record | str]) -> Path:
    """A string is a line as it stands."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_parquet(path: Path, values: Sequence[Record], rows_per_group: int) -> Path:
    names = dict.fromkeys(name for value in values for name in value)
    whole = [{name: value.get(name) for name in names} for value in values]
    parquet.write_table(pa.Table.from_pylist(whole), path, row_group_size=rows_per_group)
    return path


def plan_of(files: Sequence[Path | str], slice_rows: int, model: PlannedModel = FAKE) -> Plan:
    urls = expand([str(file) for file in files])
    return make_plan(model, [scan(url, slice_rows, lambda rows: None) for url in urls], slice_rows)


def read_output(folder: Path) -> list[Record]:
    """Rows of all parts, by file and row; found as any reader of a Parquet folder finds them."""
    rows: list[Record] = parquet.read_table(folder).to_pylist()
    return sorted(rows, key=lambda row: (row["file"], row["row"]))


async def open_fake() -> Scorer:
    """A scorer over fakes; the worker closes it."""
    observer = NullObserver()
    catalog = Catalog(load_fake, Limits(), open_cache(observer), ThreadPoolExecutor(1), observer)
    scorer = ScoringService(catalog, Limits(), observer)
    await scorer.load_model(ModelSpec("fake", "good"))
    return scorer


def open_model(folder: Path) -> OpenScorer:
    # Here, so that workers over fakes start without torch.
    from guerdon_service.app.bulk import open_scorer
    from guerdon_service.app.settings import ModelSettings, Settings

    return partial(open_scorer, Settings(models={"tiny": ModelSettings(source=str(folder))}, threads=1))


def planned(folder: Path) -> PlannedModel:
    """What the command plans for that artifact."""
    from guerdon_service.artifacts.read import read_artifact  # brings torch as well

    found = read_artifact(str(folder), "tiny").manifest
    return PlannedModel(
        "tiny", found.version, found.digest, found.profile(None)[0], "torch", "float32", "cpu"
    )


async def service_scores(scorer: Scorer, values: Sequence[Record]) -> list[Record]:
    """What `/v1/score` answers, in one request: the other way to the same scores."""
    result = await scorer.score(ScoreQuery(tuple(conversation(value) for value in values)))
    return [asdict(score) | {"std": score.std} for score in result.scores]


def check_equal(rows: Sequence[Record], scores: Sequence[Mapping[str, Any]]) -> None:
    """To the last bit."""
    for row, score in zip(rows, scores, strict=True):
        assert row["error"] is None
        found = {"reward": row["reward"], "std": row["std"], "tokens": row["tokens"]}
        assert found == {name: score[name] for name in found}
        assert dict(row["raw"]) == score["raw"]
        assert dict(row["attributes"]) == score["attributes"]
        assert row["truncated"] == score["truncated"]
