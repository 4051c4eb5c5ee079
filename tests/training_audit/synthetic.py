"""A data set without a defect, to plant one in."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from guerdon_training.audit.read import read_records
from guerdon_training.audit.records import Records

Row = dict[str, Any]

_LETTERS = Random(0)
WORDS = [
    "".join(_LETTERS.choices("abcdefghijklmnopqrstuvwxyz", k=_LETTERS.randint(3, 8))) for _ in range(800)
]

NUM_PAIRS, NUM_ITEMS, NUM_ANNOTATORS = 300, 100, 20


@dataclass
class Files:
    """Rows of the three files of an audit, and a source of fresh text."""

    pairs: list[Row] = field(default_factory=list)
    judgements: list[Row] = field(default_factory=list)
    evaluation: list[Row] = field(default_factory=list)
    random: Random = field(default_factory=lambda: Random(1))

    def text(self, num_words: int) -> str:
        return " ".join(self.random.choices(WORDS, k=num_words))

    def pair(self, **changes: Any) -> Row:
        """A fresh, sound pair, appended."""
        i = len(self.pairs)
        row = {
            "id": f"p{i}",
            "prompt": [{"role": "user", "content": self.text(10)}],
            "chosen": self.text(20 if i % 2 else 15),
            "rejected": self.text(15 if i % 2 else 20),
            "source": ("alpha", "beta")[i // 2 % 2],
            "split": "valid" if i % 5 == 0 else "train",
            "language": "en",
            "chosen_position": ("first", "second")[i // 4 % 2],
        } | changes
        self.pairs.append(row)
        return row

    def copy(self, row: Row, **changes: Any) -> Row:
        """Another row with the same content under its own id."""
        return self.pair(**(copy.deepcopy(row) | {"id": f"p{len(self.pairs)}"} | changes))

    def records(self, folder: Path) -> Records:
        """Written to files and read back."""
        paths = [
            _write(folder / "pairs.jsonl", self.pairs),
            _write(folder / "judgements.jsonl", self.judgements),
        ]
        return read_records(paths, [_write(folder / "evaluation.jsonl", self.evaluation)])


def clean_files() -> Files:
    """300 pairs, 20 annotators who are right 95 % of the time on 100 items, 20 evaluation prompts."""
    files = Files()
    for _ in range(NUM_PAIRS):
        files.pair()
    for item in range(NUM_ITEMS):
        truth = "ab"[item % 2]
        for annotator in range(NUM_ANNOTATORS):
            label = truth if files.random.random() < 0.95 else "ba"[item % 2]
            files.judgements.append(_judgement(item, annotator, label))
    files.evaluation = [{"prompt": files.text(10)} for _ in range(20)]
    return files


def _judgement(item: int, annotator: int, label: str) -> Row:
    return {
        "item_id": f"i{item}",
        "annotator": f"a{annotator}",
        "label": label,
        "source": "gamma",
        "demographics": {"age": ("younger", "older")[annotator % 2]},
    }


def _write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path
