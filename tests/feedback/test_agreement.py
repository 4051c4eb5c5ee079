"""Agreement of stored judgements, against krippendorff, and annotators of known reliability."""

import json
import random
from dataclasses import replace
from pathlib import Path

import krippendorff
import numpy as np
import pytest

from guerdon.cli.main import main
from guerdon_service.core.conversation import Message
from guerdon_service.core.feedback import Feedback
from guerdon_service.feedback.agreement import measure_agreement
from guerdon_service.state.database import open_database
from guerdon_service.state.feedback_store import SqlFeedbackStore

LABELS = (0, 1, 2)
ERROR_RATE = {"ann": 0.05, "bob": 0.1, "cat": 0.5, "dan": 0.1, "eli": 0.2}


def judged(question: int, annotator: str, label: int) -> Feedback:
    """`label` 0 prefers "a", 1 neither, 2 "b"; half of them in the other order."""
    chosen, rejected = ("b", "a") if label == 2 or (label == 1 and question % 2) else ("a", "b")
    prompt = (Message("user", f"question {question}"),)
    return Feedback(f"{annotator}-{question}", prompt, chosen, rejected, label == 1, "team", annotator, 1.0)


def judgements(count: int) -> list[Feedback]:
    chance = random.Random(7)
    found = []
    for question in range(count):
        truth = chance.choice(LABELS)
        for annotator, rate in ERROR_RATE.items():
            wrong = [label for label in LABELS if label != truth]
            label = chance.choice(wrong) if chance.random() < rate else truth
            found.append(judged(question, annotator, label))
    return found


def test_alpha_is_that_of_the_reference_and_unreliable_people_are_found() -> None:
    found = judgements(300)
    measured = measure_agreement(found)
    labels = [[_label(f) for f in found if f.annotator == name] for name in ERROR_RATE]
    expected = krippendorff.alpha(np.array(labels), level_of_measurement="ordinal", value_domain=[0, 1, 2])
    assert measured.alpha is not None
    assert measured.alpha.value == pytest.approx(expected, abs=1e-8)
    assert measured.alpha.low < measured.alpha.value < measured.alpha.high
    assert measured.num_questions == 300
    assert dict(measured.num_judgements) == dict.fromkeys(ERROR_RATE, 300)
    for name, rate in ERROR_RATE.items():
        assert measured.accuracy[name] == pytest.approx(1 - rate, abs=0.07)


def _label(feedback: Feedback) -> int:
    return 1 if feedback.is_tie else {"a": 0, "b": 2}[feedback.chosen]


def test_what_one_person_judged_alone_says_nothing() -> None:
    assert measure_agreement([]).alpha is None
    alone = measure_agreement([judged(i, "ann", 0) for i in range(3)])
    assert (alone.num_questions, alone.alpha, dict(alone.accuracy)) == (0, None, {})


@pytest.mark.parametrize("name", ["ann", ""])
def test_what_one_person_judged_again_is_a_change_of_mind_and_no_agreement(name: str) -> None:
    again = [judged(i, name, label) for i in range(3) for label in (2, 0)]
    assert measure_agreement(again).alpha is None
    others = [judged(i, "bob", label) for i, label in enumerate((0, 1, 2))]
    first, last = ([judged(i, name, label) for i in range(3)] for label in (2, 0))
    measured = measure_agreement(again + others)
    assert measured == measure_agreement(last + others)
    assert measured != measure_agreement(first + others)


def test_the_command_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    database = open_database(url)
    store = SqlFeedbackStore(database)
    for feedback in judgements(30):
        store.add(feedback)
    store.add(replace(judged(0, "eve", 1), tenant="rival"))
    database.close()
    assert main(["data", "agreement", "--state-url", url, "--tenant", "team"]) == 0
    first, worst, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("Krippendorff's alpha 0.") and "over 30 questions" in first
    assert "cat" in worst and "eve" not in first
    assert main(["data", "agreement", "--state-url", url, "--json"]) == 0
    assert "eve" in json.loads(capsys.readouterr().out)["accuracy"]
