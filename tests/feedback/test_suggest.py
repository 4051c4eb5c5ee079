"""What is suggested for labelling: by which rule, in which order, and that feedback takes the answers."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guerdon_service.app.suggest_labels import suggest_labels_command
from guerdon_service.core.call import Call
from guerdon_service.core.candidate_log import CandidateRecord
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.feedback import Feedback
from guerdon_service.core.limits import Limits
from guerdon_service.core.statistics.disagreement import information_nats
from guerdon_service.feedback.question import question_key
from guerdon_service.feedback.service import check_feedback
from guerdon_service.feedback.suggest import suggest, to_task_lines
from guerdon_service.rest.feedback_wire import decode_feedback
from tests.feedback.candidates import PROMPT, record, stored


def about(topic: str) -> tuple[Message, ...]:
    return (Message("user", topic),)


def random_records(num: int, num_prompts: int) -> list[CandidateRecord]:
    generator = np.random.default_rng(0)
    return [
        record(
            f"c{i}",
            *[(f"{i}-{k}", float(generator.normal()), float(generator.exponential())) for k in range(3)],
            prompt=about(f"topic {i % num_prompts}"),
        )
        for i in range(num)
    ]


def run(folder: Path, *flags: str) -> list[dict[str, Any]]:
    out = folder / "tasks.jsonl"
    assert suggest_labels_command(["--output", str(out), *flags]) == 0
    return [json.loads(line) for line in out.read_text("utf-8").split("\n") if line]


def test_members_that_contradict_each_other_come_before_a_toss_up_that_all_agree_on() -> None:
    records = [
        record("agreed toss-up", ("a", 0.0, 0.01), ("b", 0.0, 0.01), prompt=about("toss-up")),
        record("contradiction", ("c", 0.0, 1.0), ("d", 0.4, 1.0), prompt=about("contradiction")),
        record("sure", ("e", 0.0, 0.01), ("f", 5.0, 0.01), prompt=about("sure")),
    ]
    found = suggest(records, 3)
    assert [s.prompt[0].content for s in found] == ["contradiction", "toss-up", "sure"]
    assert suggest(records, 1) == found[:1]


def test_what_members_disagree_on_of_both_responses_alike_says_nothing_of_their_order() -> None:
    """Two members, of which one gives 2 more to each response of the first prompt: equal margins."""
    apart = (1.0, -1.0)
    records = [
        record("shared", ("a", 0.0, 2**0.5, apart), ("b", 0.0, 2**0.5, apart), prompt=about("shared")),
        record(
            "opposed", ("c", 0.0, 0.5, (0.3, -0.4)), ("d", 0.0, 0.5, (-0.3, 0.4)), prompt=about("opposed")
        ),
        record("as one", ("e", 0.0, 0.5), ("f", 0.0, 0.5), prompt=about("as one")),
    ]
    opposed, as_one, shared = suggest(records, 3)
    assert [s.prompt[0].content for s in (opposed, as_one, shared)] == ["opposed", "as one", "shared"]
    assert opposed.information == information_nats(np.zeros(1), np.ones(1))[0]
    assert as_one.information == information_nats(np.zeros(1), np.full(1, 0.5**0.5))[0]
    assert shared.information == 0.0


def test_without_an_ensemble_the_closest_rewards_come_first() -> None:
    records = [
        record("far", ("a", 0.0), ("b", 3.0), prompt=about("far")),
        record("near", ("a", 0.0), ("b", 2.0), ("c", 2.1), prompt=about("near")),
    ]
    found = suggest(records, 9)
    assert [(s.responses, s.information) for s in found] == [(("b", "c"), 0.0), (("a", "b"), 0.0)]


def test_a_prompt_is_asked_once_with_its_best_pair() -> None:
    records = [
        record("c1", ("a", 0.0, 0.1), ("b", 0.0, 0.1)),
        record("c2", ("a", 0.0, 2.0), ("c", 0.0, 2.0)),
        record("c3", ("a", 0.0, 0.1), ("d", 0.0, 0.1)),
    ]
    assert [s.responses for s in suggest(records, 9)] == [("a", "c")]


def test_what_is_labelled_either_way_round_gives_way_to_the_next_pair() -> None:
    candidates = (("a", 0.0, 1.0), ("b", 0.0, 1.0), ("c", 3.0, 1.0))
    labelled = {question_key(PROMPT, "b", "a")}
    (found,) = suggest([record("c1", *candidates)], 9, labelled)
    assert set(found.responses) in ({"a", "c"}, {"b", "c"})
    assert suggest([record("c2", *candidates[:2])], 9, labelled) == []


def test_equal_texts_and_single_ones_are_no_question() -> None:
    assert suggest([record("c1", ("a", 0.0, 1.0), ("a", 0.0, 1.0)), record("c2", ("b", 1.0))], 9) == []


def test_bounded_memory_changes_nothing() -> None:
    records = random_records(3000, 1500)
    everything = suggest(records, 10_000)
    assert len(everything) == 1500
    assert [s.information for s in everything] == sorted((s.information for s in everything), reverse=True)
    assert suggest(records, 7) == everything[:7]


def test_the_order_is_random_by_the_seed_alone() -> None:
    suggestions = suggest(random_records(200, 200), 200)
    lines = to_task_lines(suggestions, 1)
    assert lines == to_task_lines(suggestions, 1) != to_task_lines(suggestions, 2)
    shown = [json.loads(line)["shown"] for line in lines]
    by_pair = {frozenset(s.responses): (rank, s) for rank, s in enumerate(suggestions)}
    ranks = [by_pair[frozenset(s)][0] for s in shown]
    first = [by_pair[frozenset(s)][1].responses[0] for s in shown]
    assert sorted(ranks) == list(range(200))
    assert abs(np.corrcoef(ranks, range(200))[0, 1]) < 0.3  # 4 standard errors
    counts = Counter(s[0] == f for s, f in zip(shown, first, strict=True))
    assert 70 < counts[True] < 130  # 4 standard errors


def test_the_log_is_asked_for_what_has_no_label_and_feedback_takes_the_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = stored(
        tmp_path,
        [
            record("c1", ("a", 0.0, 1.0), ("b", 0.0, 1.0), prompt=about("labelled")),
            record("c2", ("a", 0.0, 1.0), ("b", 0.2, 1.0), prompt=about("open")),
            record("c3", ("a", 0.0, 1.0), ("b", 0.2, 1.0), prompt=(Message("system", "untrainable"),)),
            record("c4", ("a", 0.0, 1.0), ("b", 0.2, 1.0), prompt=about("theirs"), tenant="rival"),
        ],
        [Feedback("f", about("labelled"), "b", "a", False, "team", "ann", 1.0)],
    )
    (task,) = run(tmp_path, "--state-url", url, "--tenant", "team")
    assert task["messages"] == [{"role": "user", "content": "open"}]
    assert (sorted(task["shown"]), task["model"]) == (["a", "b"], "m@1")
    assert "nats" in capsys.readouterr().err
    judged = decode_feedback(task | {"chosen": "b", "rejected": "a", "annotator": "ann"}, Call("team", "r"))
    check_feedback(judged, Limits())
    assert len(run(tmp_path, "--state-url", url)) == 2


def test_candidates_may_be_given_as_a_file(tmp_path: Path) -> None:
    given = tmp_path / "candidates.jsonl"
    texts = [{"text": "a\u2028", "reward": 1, "std": 0.5}, {"text": "b", "reward": 0.5}]
    rows = [
        {"prompt": "Name a prime.", "candidates": texts, "model": "m@1"},
        {"prompt": [{"role": "user", "content": "And another."}], "candidates": texts},
    ]
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    given.write_text(text, "utf-8")
    tasks = run(tmp_path, "--candidates", str(given), "--seed", "3")
    assert {task["messages"][0]["content"]: task["model"] for task in tasks} == {
        "Name a prime.": "m@1",
        "And another.": "",
    }
    assert len(run(tmp_path, "--candidates", str(given), "--num", "1")) == 1


GOOD = {"text": "a", "reward": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({"candidates": [GOOD]}),
        json.dumps({"prompt": "p"}),
        json.dumps({"prompt": "p", "candidates": []}),
        json.dumps({"prompt": "", "candidates": [GOOD]}),
        json.dumps({"prompt": [{"role": "user", "content": 1}], "candidates": [GOOD]}),
        json.dumps({"prompt": [{"role": "nobody", "content": "p"}], "candidates": [GOOD]}),
        json.dumps({"prompt": "p", "candidates": [GOOD], "model": 1}),
        json.dumps({"prompt": "p", "candidates": [{"text": "a"}]}),
        json.dumps({"prompt": "p", "candidates": [GOOD | {"text": ""}]}),
        json.dumps({"prompt": "p", "candidates": [GOOD | {"text": 1}]}),
        json.dumps({"prompt": "p", "candidates": [GOOD | {"reward": True}]}),
        json.dumps({"prompt": "p", "candidates": [GOOD | {"reward": 10**400}]}),
        json.dumps({"prompt": "p", "candidates": [GOOD | {"reward": float("nan")}]}),
        json.dumps({"prompt": "p", "candidates": [GOOD | {"std": -0.1}]}),
    ],
)
def test_a_line_that_is_no_record_is_named(line: str, tmp_path: Path) -> None:
    given = tmp_path / "candidates.jsonl"
    good = json.dumps({"prompt": "p", "candidates": [GOOD]})
    given.write_text(f"{good}\n{line}\n", "utf-8")
    with pytest.raises(InvalidInput, match=r"candidates\.jsonl:2 is no record") as refused:
        run(tmp_path, "--candidates", str(given))
    assert refused.value.param == "--candidates"


@pytest.mark.parametrize(
    ("flags", "param"),
    [
        ([], "--state-url"),
        (["--num", "0"], "--num"),
        (["--seed", "-1"], "--seed"),
        (["--candidates", "absent.jsonl"], "--candidates"),
    ],
)
def test_flags_are_refused_by_name(
    flags: list[str], param: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GUERDON_STATE_URL", raising=False)
    with pytest.raises(InvalidInput) as refused:
        run(tmp_path, *flags)
    assert refused.value.param == param


def test_nothing_to_suggest_says_how_to_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--state-url", stored(tmp_path, [])) == []
    assert "--log-candidates true" in capsys.readouterr().err
