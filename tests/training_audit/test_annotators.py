"""An annotator is judged by the items that others judged too, and by nothing else."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from guerdon_training.audit.check import Check, Verdict
from guerdon_training.audit.checks.annotators import check_annotators
from guerdon_training.audit.read import read_records

Row = dict[str, Any]


def _row(item: str, who: str, key: str, value: object) -> Row:
    return {"item_id": item, "annotator": who, key: value, "source": "s"}


def _label(item: int, *, careless: bool = False) -> str:
    return Random(item).choice("ab") if careless else "ab"[item % 2]


def _rating(item: int, *, careless: bool = False) -> float:
    return float(Random(item).randint(1, 5) if careless else 1 + item % 5)


def _check(folder: Path, rows: list[Row]) -> Check:
    path = folder / "judgements.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return check_annotators(read_records([path]))


@pytest.mark.parametrize(("key", "value"), [("label", _label), ("rating", _rating)])
@pytest.mark.parametrize("place", ["first", "last"])
def test_who_shares_no_item_is_reported_and_not_judged(
    tmp_path: Path, key: str, value: Any, place: str
) -> None:
    rows = [_row(f"i{i}", who, key, value(i)) for i in range(30) for who in "pqr"]
    alone = [_row(f"own {i}", "alone", key, value(i, careless=True)) for i in range(60)]
    check = _check(tmp_path, alone + rows if place == "first" else rows + alone)
    assert check.verdict is Verdict.PASS
    found = [f for f in check.findings if f.group == "annotator=alone"]
    assert [(f.name, f.value, f.num) for f in found] == [
        ("labels that no other annotator's stand beside", 60, 60)
    ]
    assert {f.group for f in check.findings} == {f"annotator={who}" for who in (*"pqr", "alone")}


@pytest.mark.parametrize(("key", "value"), [("label", _label), ("rating", _rating)])
def test_labels_of_ones_own_items_neither_judge_nor_excuse(tmp_path: Path, key: str, value: Any) -> None:
    """Both answer at random where others do too, and one of them on too few items to tell."""
    rows = [_row(f"i{i}", who, key, value(i)) for i in range(300) for who in "pqr"]
    rows += [_row(f"i{i}", "careless", key, value(i, careless=True)) for i in range(300)]
    rows += [_row(f"i{i}", "rare", key, value(i, careless=True)) for i in range(10)]
    own = [_row(f"own {who} {i}", who, key, value(i)) for who in ("careless", "rare") for i in range(200)]
    check = _check(tmp_path, rows + own)
    assert check.reason.endswith(": careless")
    assert "(500 of 1610 labels)" in check.reason
    assert {f.num for f in check.findings if f.group == "annotator=rare"} == {10}


@pytest.mark.parametrize("num", [20, 50])
def test_who_is_just_good_enough_is_rarely_called_poor(tmp_path: Path, num: int) -> None:
    """2.5 % by the upper end of a 95 % interval: 400 annotators whose true correlation is 0.2."""
    chance = np.random.default_rng(num)
    truth = chance.normal(size=(400, num, 1))
    skill = np.array([0.245, 0.8, 0.8])  # of five points; the first one's correlation with the others is 0.2
    felt = skill * truth + np.sqrt(1.0 - skill**2) * chance.normal(size=(400, num, 3))
    ratings = np.digitize(felt, [-1.5, -0.5, 0.5, 1.5])
    rows = [
        _row(f"i{i}", f"{who}{group}", "rating", float(ratings[group, i, column])) | {"source": f"s{group}"}
        for group in range(400)
        for i in range(num)
        for column, who in enumerate("pqr")
    ]
    num_poor = int(_check(tmp_path, rows).reason.split()[0])
    assert 4 <= num_poor <= 18  # 10 are expected, with a standard deviation of 3


def test_three_who_share_nothing_cannot_be_compared(tmp_path: Path) -> None:
    rows = [_row(f"i{i}", who, "label", _label(i)) for i in range(30) for who in "pq"]
    rows += [_row(f"own {i}", "r", "label", _label(i)) for i in range(30)]
    assert _check(tmp_path, rows).verdict is Verdict.NOT_APPLICABLE
