"""No prompt in two splits."""

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.splits import check_splits

FILES = {"train": "a.jsonl", "valid": "b.jsonl", "test": "b.jsonl"}


def _record(name: str, *turns: str) -> tuple[str, tuple[Message, ...]]:
    return name, tuple(Message("assistant" if i % 2 else "user", turn) for i, turn in enumerate(turns))


def test_one_prompt_may_come_often_in_one_split_and_share_an_opening_with_another() -> None:
    check_splits(
        FILES, {"train": [_record("1", "Hi"), _record("2", "Hi")], "test": [_record("1", "Hi", "Hm", "Ho")]}
    )


@pytest.mark.parametrize("text", ["Who am I?", "who  am i?", "\tWHO am I?\n"])
def test_the_same_prompt_in_two_is_named_with_both_places_and_the_remedy(text: str) -> None:
    said = (
        r"b\.jsonl \(record 2\) and b\.jsonl \(record 7\) share a prompt, but one is data\.valid and one "
        r"data\.test; put every prompt in one split"
    )
    records = {
        "train": [_record("1", "Hi")],
        "valid": [_record("2", "Who am I?")],
        "test": [_record("7", text)],
    }
    with pytest.raises(InvalidInput, match=said):
        check_splits(FILES, records)
