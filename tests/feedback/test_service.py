"""Feedback: what is refused, what is filled in, and that it comes out as training data."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from guerdon_service.app.export_feedback import export_feedback_command
from guerdon_service.app.feedback_agreement import feedback_agreement_command
from guerdon_service.app.suggest_labels import suggest_labels_command
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.feedback import Feedback
from guerdon_service.core.limits import Limits
from guerdon_service.evaluation.read import read_items
from guerdon_service.feedback.service import FeedbackService
from guerdon_service.state.database import open_database
from guerdon_service.state.feedback_store import SqlFeedbackStore
from guerdon_training.data import read_pairs
from tests.domain_fakes import MemoryFeedbackStore

GOOD = Feedback(
    id="",
    prompt=(Message("user", "Name a prime."),),
    chosen="7.",
    rejected="8.",
    is_tie=False,
    tenant="team",
    annotator="ann",
    at=0.0,
    tags={"language": "en"},
    shown=("8.", "7."),
    model="m@1",
)


def service(store: MemoryFeedbackStore | None = None) -> FeedbackService:
    return FeedbackService(store or MemoryFeedbackStore(), Limits(max_item_chars=100), now=lambda: 12.5)


async def test_id_and_time_are_filled_and_kept_as_given() -> None:
    store = MemoryFeedbackStore()
    made = await service(store).submit(GOOD)
    assert len(made.id) == 32 and made.at == 12.5
    given = await service(store).submit(replace(GOOD, id="mine", at=3.0))
    assert (given.id, given.at) == ("mine", 3.0)
    assert list(store.read()) == [made, given]
    assert replace(made, id="", at=0.0) == GOOD


async def test_the_same_id_is_kept_once() -> None:
    store = MemoryFeedbackStore()
    for chosen in ("first", "second"):
        await service(store).submit(replace(GOOD, id="mine", chosen=chosen, shown=()))
    assert [f.chosen for f in store.read()] == ["first"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"chosen": ""}, "chosen"),
        ({"rejected": "", "shown": ()}, "rejected"),
        ({"rejected": "7.", "shown": ()}, "rejected"),
        ({"chosen": "\ud800", "shown": ()}, "chosen"),
        ({"prompt": (Message("nobody", "x"),)}, "messages[0].role"),
        ({"prompt": (Message("user", ""),)}, "prompt"),
        ({"shown": ("7.",)}, "shown"),
        ({"shown": ("7.", "9.")}, "shown"),
        ({"id": "a b"}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"annotator": "x" * 257}, "annotator"),
        ({"annotator": "\udfff"}, "annotator"),
        ({"model": "x" * 257}, "model"),
        ({"tags": {"x" * 257: "y"}}, "tags"),
        ({"tags": {f"t{i}": "y" for i in range(65)}}, "tags"),
    ],
)
async def test_what_could_not_be_learnt_from_is_refused(changes: dict[str, object], param: str) -> None:
    store = MemoryFeedbackStore()
    with pytest.raises(InvalidInput) as refused:
        await service(store).submit(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert refused.value.param == param
    assert not store.kept


async def test_a_text_over_the_limit_is_refused() -> None:
    with pytest.raises(InputTooLong) as refused:
        await service().submit(replace(GOOD, rejected="x" * 100, shown=()))
    assert refused.value.param == "rejected"


async def test_export_gives_what_training_reads(tmp_path: Path) -> None:
    url, out = f"sqlite:///{tmp_path / 'state.db'}", tmp_path / "feedback.jsonl"
    database = open_database(url)
    taker = FeedbackService(SqlFeedbackStore(database), Limits())
    await taker.submit(replace(GOOD, id="one"))
    await taker.submit(replace(GOOD, id="two", is_tie=True))
    await taker.submit(replace(GOOD, id="other", tenant="rival"))
    database.close()
    assert export_feedback_command(["--state-url", url, "--output", str(out), "--tenant", "team"]) == 0
    pairs = read_pairs(out, ties=True)
    assert [(p.id, p.chosen, p.rejected, p.is_tie) for p in pairs] == [
        ("one", "7.", "8.", False),
        ("two", "7.", "8.", True),
    ]
    assert pairs[0].prompt == GOOD.prompt and pairs[0].source == "feedback"
    first = json.loads(out.read_text("utf-8").splitlines()[0])
    assert (first["annotator"], first["tags"], first["shown"]) == ("ann", {"language": "en"}, ["8.", "7."])
    assert [p.id for p in read_pairs(out)] == ["one"]
    items = list(read_items([out]))
    assert [(i.id, i.grades, i.tie_votes) for i in items] == [("one", (1, 0), 0), ("two", (1, 1), 1)]
    assert items[0].prompt == GOOD.prompt and items[0].responses == ("7.", "8.")
    assert (items[0].subset, items[0].tags) == ("feedback", ("language=en", "source=feedback"))


@pytest.mark.parametrize("argv", [["--output", "x"], ["--state-url", "sqlite://", "--output", "/nowhere/x"]])
def test_export_refuses_by_name(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUERDON_STATE_URL", raising=False)
    with pytest.raises(InvalidInput) as refused:
        export_feedback_command(argv)
    assert refused.value.param in ("--state-url", "--output")


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (export_feedback_command, ["--output", "out.jsonl"]),
        (suggest_labels_command, ["--output", "out.jsonl"]),
        (feedback_agreement_command, []),
    ],
)
def test_a_misspelt_database_is_refused_and_not_made(
    command: Callable[[Sequence[str]], int], argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"state_url names stat\.db, which does not exist"):
        command(["--state-url", "sqlite:///stat.db", *argv])
    assert not list(tmp_path.iterdir())
