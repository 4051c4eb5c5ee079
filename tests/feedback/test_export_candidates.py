"""Logged candidates come out as what training reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.app.export_feedback import export_feedback_command
from guerdon_service.core.conversation import Message
from guerdon_service.core.feedback import Feedback
from guerdon_training.data import read_pairs
from guerdon_training.policy.demonstrations import read_demonstrations
from tests.feedback.candidates import PROMPT, record, stored

SYSTEM_ONLY = (Message("system", "Name a prime."),)
CONTINUED = (*PROMPT, Message("assistant", "It is"))


def export(kind: str, url: str, folder: Path, *flags: str) -> Path:
    out = folder / f"{kind}.jsonl"
    argv = ["--kind", kind, "--state-url", url, "--output", str(out), *flags]
    assert export_feedback_command(argv) == 0
    return out


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def test_rankings_are_what_reward_training_reads(tmp_path: Path) -> None:
    candidates = (("8", -1.0), ("7", 2.0), ("8", -1.0), ("siète\u2028", 0.5), ("5", 2.0))
    out = export("kwise", stored(tmp_path, [record("c1", *candidates, chosen=1)]), tmp_path)
    pairs = read_pairs(out, ties=True)
    assert {(p.chosen, p.rejected, p.rank_gap) for p in pairs} == {
        ("7", "5", 0),
        ("7", "siète\u2028", 2),
        ("7", "8", 3),
        ("5", "siète\u2028", 2),
        ("5", "8", 3),
        ("siète\u2028", "8", 1),
    }
    assert [p.is_tie for p in pairs] == [True] + [False] * 5
    assert {p.prompt for p in pairs} == {PROMPT} and {p.source for p in pairs} == {"best-of-n"}
    (line,) = lines(out)
    assert (line["id"], line["model"], line["policy"], line["tenant"]) == ("c1", "m@1", "p", "team")
    assert line["rewards"] == [-1.0, 2.0, 0.5, 2.0]


def test_demonstrations_are_what_supervised_training_reads(tmp_path: Path) -> None:
    url = stored(tmp_path, [record("c1", ("8", -1.0), ("7", 2.0), chosen=1), record("c2", ("11", 0.0))])
    read = read_demonstrations(export("sft", url, tmp_path))
    assert [(d.id, d.prompt, d.response, d.source) for d in read] == [
        ("c1", PROMPT, "7", "best-of-n"),
        ("c2", PROMPT, "11", "best-of-n"),
    ]


def test_what_training_would_refuse_or_learn_nothing_from_is_left_out(tmp_path: Path) -> None:
    both = (("7", 2.0), ("8", 1.0))
    url = stored(
        tmp_path,
        [
            record("kept", *both),
            record("same again", *both),
            record("system only", *both, prompt=SYSTEM_ONLY),
            record("one text", ("9", 1.0), ("9", 1.0)),
            record("abstained", ("11", 1.0), ("13", 1.1), chosen=None),
            record("continued", *both, prompt=CONTINUED),
        ],
    )
    assert [line["id"] for line in lines(export("kwise", url, tmp_path))] == [
        "kept",
        "abstained",
        "continued",
    ]
    assert [line["id"] for line in lines(export("sft", url, tmp_path))] == ["kept", "one text"]
    assert len(read_pairs(tmp_path / "kwise.jsonl")) == 3
    assert len(read_demonstrations(tmp_path / "sft.jsonl")) == 2


def test_judgements_of_prompts_without_a_user_turn_do_not_spoil_the_file(tmp_path: Path) -> None:
    judgements = [
        Feedback(id, prompt, "7", "8", False, "team", "ann", 1.0)
        for id, prompt in (("kept", PROMPT), ("left out", SYSTEM_ONLY))
    ]
    out = export("pairs", stored(tmp_path, [], judgements), tmp_path)
    assert [p.id for p in read_pairs(out)] == ["kept"]


def test_an_id_that_two_tenants_gave_does_not_spoil_the_file(tmp_path: Path) -> None:
    given = [("ann", "x"), ("ben", "x"), ("cay", "ben/x"), ("ben", "y")]
    judgements = [Feedback(id, PROMPT, "7", "8", False, tenant, "", 1.0) for tenant, id in given]
    url = stored(tmp_path, [], judgements)
    assert [p.id for p in read_pairs(export("pairs", url, tmp_path))] == ["x", "ben/x", "cay/ben/x", "y"]
    assert [p.id for p in read_pairs(export("pairs", url, tmp_path, "--tenant", "ben"))] == ["x", "y"]


@pytest.mark.parametrize("kind", ["kwise", "sft"])
def test_one_tenant_sees_its_own(kind: str, tmp_path: Path) -> None:
    both = (("7", 2.0), ("8", 1.0))
    url = stored(tmp_path, [record("ours", *both), record("theirs", *both, tenant="rival")])
    out = export(kind, url, tmp_path, "--tenant", "rival")
    assert [line["id"] for line in lines(out)] == ["theirs"]


def test_nothing_logged_says_how_to_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = export("sft", stored(tmp_path, []), tmp_path)
    assert out.read_text() == ""
    assert "--log-candidates true" in capsys.readouterr().err
