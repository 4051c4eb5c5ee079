"""Made-up preferences, short enough for the fake encoder, and files of them."""

import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Pair records: three subsets, two languages, some votes, two items per prompt."""
    chance = random.Random(seed)
    records = []
    for i in range(count):
        chosen, rejected = (
            "".join(chance.choices("abcdefghij ", k=chance.randrange(4, 24))) + str(i) for _ in "ab"
        )
        records.append(
            {
                "id": f"pair-{i}",
                "prompt": [{"role": "user", "content": f"Question {i // 2}?"}],
                "chosen": chosen,
                "rejected": rejected,
                "subset": ("alpha", "beta", "gamma")[i % 3],
                "language": ("en", "de")[i % 2],
                "demographics": {"gender": ("female", "male")[i // 4 % 2]},
                "votes": {"chosen": 2, "rejected": i % 2, "tie": 0},
            }
        )
    return records


def write(path: Path, records: Iterable[Any]) -> Path:
    """JSON Lines, gzipped if the name says so."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
