"""What a record may carry, and that what it must not stops with its file, its line and a remedy."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import Votes, read_pairs

PAIR: dict[str, Any] = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello", "rejected": "No"}
RANKING: dict[str, Any] = {
    "id": "r",
    "prompt": PAIR["prompt"],
    "responses": ["worst", "best", "middle", "also middle"],
    "ranks": [3, 1, 2, 2],
    "source": "s",
}


def _write(path: Path, *records: Any) -> Path:
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_a_pair_may_carry_votes_a_margin_and_a_rank_gap(tmp_path: Path) -> None:
    more = {"votes": {"chosen": 2, "rejected": 1}, "margin": 0.5, "rank_gap": 3}
    (pair,) = read_pairs(_write(tmp_path / "pairs.jsonl.gz", PAIR | more))
    assert (pair.votes, pair.margin, pair.rank_gap) == (Votes(2, 1, 0), 0.5, 3)


def test_a_ranking_is_all_its_pairs(tmp_path: Path) -> None:
    pairs = read_pairs(_write(tmp_path / "rankings.jsonl", RANKING), ties=True)
    assert [(p.chosen, p.rejected, p.rank_gap, p.is_tie) for p in pairs] == [
        ("best", "middle", 1, False),
        ("best", "also middle", 1, False),
        ("best", "worst", 2, False),
        ("middle", "also middle", 0, True),
        ("middle", "worst", 1, False),
        ("also middle", "worst", 1, False),
    ]
    assert len({p.id for p in pairs}) == 6 and {p.source for p in pairs} == {"s"}


def test_ties_are_kept_only_where_they_are_asked_for(tmp_path: Path) -> None:
    votes = [{"chosen": 1, "tie": 2}, {"chosen": 1, "rejected": 1}, {"chosen": 1, "tie": 1}, {"chosen": 3}]
    path = _write(tmp_path / "pairs.jsonl", *(PAIR | {"votes": v} for v in votes))
    assert [p.is_tie for p in read_pairs(path, ties=True)] == [True, True, False, False]
    assert [p.votes for p in read_pairs(path)] == [Votes(1, 0, 1), Votes(3, 0, 0)]


BAD: dict[str, tuple[Any, str]] = {
    "missing column": (
        {k: v for k, v in PAIR.items() if k != "chosen"},
        "has no chosen .it has prompt, rejec",
    ),
    "not an object": ([PAIR], "is not a JSON object"),
    "not JSON": ("{", "is not JSON.*guerdon data convert reads CSV"),
    "mixed schema": (RANKING, "is a ranking, but the file began with a pair; give one file per kind"),
    "duplicate id": (PAIR | {"id": "1"}, r"has the id '1' of .*:1; drop one"),
    "unknown role": (
        PAIR | {"prompt": [{"role": "user", "content": "x"}, {"role": "bot", "content": "x"}]},
        "unknown role 'bot' in prompt; use one of system, user",
    ),
    "content is no text": (PAIR | {"prompt": [{"role": "user", "content": None}]}, "prompt must be a list"),
    "prompt is text": (PAIR | {"prompt": "Hi"}, "prompt must be a list"),
    "no user turn": (PAIR | {"prompt": [{"role": "system", "content": "x"}]}, "has no user turn"),
    "negative votes": (PAIR | {"votes": {"chosen": -1, "tie": 3}}, "votes must be counts"),
    "no votes": (PAIR | {"votes": {"chosen": 0}}, "votes must be counts"),
    "unknown votes": (PAIR | {"votes": {"best": 1}}, "votes must map chosen, rejected and tie"),
    "margin is no number": (PAIR | {"margin": "big"}, "margin must be a number"),
    "negative gap": (PAIR | {"rank_gap": -1}, "rank_gap must be a number of at least 0"),
    "half a rank": (PAIR | {"rank_gap": 0.5}, "rank_gap must be a whole number of ranks"),
    "endless gap": (PAIR | {"rank_gap": float("inf")}, "rank_gap must be .* finite; fix the line"),
    "gap of 400 digits": (PAIR | {"rank_gap": 10**400}, "rank_gap must be .* finite; fix the line"),
    "endless margin": (PAIR | {"margin": float("inf")}, "margin must be .* finite; fix the line"),
}


@pytest.mark.parametrize(("record", "problem"), BAD.values(), ids=BAD)
def test_a_bad_pair_is_named_with_its_remedy(tmp_path: Path, record: Any, problem: str) -> None:
    path = _write(tmp_path / "pairs.jsonl", PAIR | {"id": "1"}, record)
    with pytest.raises(InvalidInput, match=rf"pairs\.jsonl:2.* ?{problem}"):
        read_pairs(path)


BAD_RANKINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no ranks": ({k: v for k, v in RANKING.items() if k != "ranks"}, "has no ranks"),
    "too few ranks": (RANKING | {"ranks": [1, 2]}, "ranks must be whole numbers, one for each response"),
    "ranks are text": (RANKING | {"ranks": ["1", "2", "3", "4"]}, "ranks must be whole numbers"),
    "one response": (
        RANKING | {"responses": ["x"], "ranks": [1]},
        "responses must be at least two different",
    ),
    "equal responses": (RANKING | {"responses": ["x", "x", "y", "z"]}, "responses must be at least two"),
    "a pair": (PAIR, "is a pair, but the file began with a ranking"),
}


@pytest.mark.parametrize(("record", "problem"), BAD_RANKINGS.values(), ids=BAD_RANKINGS)
def test_a_bad_ranking_is_named_with_its_remedy(tmp_path: Path, record: dict[str, Any], problem: str) -> None:
    path = _write(tmp_path / "rankings.jsonl", RANKING | {"id": "first"}, record)
    with pytest.raises(InvalidInput, match=rf"rankings\.jsonl:2 .*{problem}"):
        read_pairs(path)


def test_bytes_that_are_not_utf8_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(json.dumps(PAIR).encode() + b'\n\n{"prompt": "caf\xe9"}')
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl:3 is not UTF-8 .*save the file as UTF-8"):
        read_pairs(path)


def test_half_a_character_is_named_and_a_byte_order_mark_is_no_text(
    tmp_path: Path,
) -> None:
    path = _write(tmp_path / "pairs.jsonl", PAIR, PAIR | {"id": "other", "chosen": "so \ud83d"})
    said = r"pairs\.jsonl:2 holds half a character \('\\ud83d'\), which is not UTF-8; fix the line"
    with pytest.raises(InvalidInput, match=said):
        read_pairs(path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(PAIR).encode())
    assert len(read_pairs(path)) == 1


def test_a_file_of_ties_alone_holds_no_pair(tmp_path: Path) -> None:
    path = _write(tmp_path / "pairs.jsonl", PAIR | {"votes": {"tie": 3}})
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl: every record ties"):
        read_pairs(path)
    assert len(read_pairs(path, ties=True)) == 1
