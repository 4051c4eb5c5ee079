"""Evaluation against the engine alone: what reading, tokenizing and keeping scores cost."""

import asyncio
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from guerdon_service.app.bench.figure import Figure, at_least, plain
from guerdon_service.app.bench.texts import mixed_items
from guerdon_service.app.build import build_scorer, load_models
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.fingerprint import fingerprints
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Lane
from guerdon_service.evaluation.read import read_items
from guerdon_service.evaluation.run import score_files
from guerdon_service.evaluation.score import Asked
from guerdon_service.scoring.model_scorer import ModelScorer
from guerdon_service.scoring.service import ScoringService

_MODEL = "bench"
_LATE_S = 3600.0


def evaluation_share(source: str, rounds: int, count: int) -> list[Figure]:
    """Tokens per second of an evaluation, over those of the engine with all of its tokens queued at once."""
    return asyncio.run(_share(source, rounds, count))


async def _share(source: str, rounds: int, count: int) -> list[Figure]:
    settings = Settings(models={_MODEL: ModelSettings(source=source)}, cache_bytes=0)
    service = build_scorer(settings, NullObserver())
    shares, rates = [], []
    try:
        await load_models(service, settings)
        scorer = service.catalog.resolve(_MODEL).ready_scorer()
        with tempfile.TemporaryDirectory() as folder:
            path = _write_pairs(Path(folder) / "pairs.jsonl", count)
            conversations = [c for item in read_items([path]) for c in item.conversations()]
            encoded = [scorer.model.encoder.encode(c, "item") for c in conversations]
            num_tokens = sum(e.num_tokens for e in encoded)
            await _engine_s(scorer, encoded[:64])
            for _ in range(rounds):
                engine_s = await _engine_s(scorer, encoded)
                evaluation_s = await _evaluation_s(service, path)
                shares.append(engine_s / evaluation_s)
                rates.append(num_tokens / evaluation_s)
    finally:
        await service.close()
    return [
        at_least("evaluation / engine, tokens queued at once", shares, 0.95),
        plain("evaluation", rates, "tokens/s"),
    ]


async def _engine_s(scorer: ModelScorer, encoded: list[Encoded]) -> float:
    keys = fingerprints(scorer.model.identity, "", encoded)
    started = time.monotonic()
    await scorer.engine.score(encoded, keys, deadline=started + _LATE_S, lane=Lane.BULK)
    return time.monotonic() - started


async def _evaluation_s(service: ScoringService, path: Path) -> float:
    started = time.monotonic()
    await score_files(service, Asked(_MODEL, None), (path,), progress=lambda _: None)
    return time.monotonic() - started


def _write_pairs(path: Path, count: int) -> Path:
    """`count` pairs of mixed lengths; the response of the next item is the rejected one."""
    items = mixed_items(count + 1, seed=6)
    lines = [
        json.dumps({"prompt": a.prompt, "chosen": a.response, "rejected": b.response})
        for a, b in pairwise(items)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
