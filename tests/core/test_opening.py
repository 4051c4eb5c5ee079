"""What of a prompt tells it from others."""

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.opening import opening


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("What is it?", "  what IS it", True),
        ("\U0001f600", "\U0001f62d", False),
        ("\U0001f600 \U0001f600", " \U0001f600  \U0001f600\n", True),
        ("!", "", False),
        ("", " ", True),
    ],
)
def test_case_and_punctuation_tell_nothing_where_there_is_more(first: str, second: str, same: bool) -> None:
    found = [opening((Message("system", "s"), Message("user", text))) for text in (first, second)]
    assert (found[0] == found[1]) == same


def test_a_prompt_without_a_user_turn_opens_with_nothing() -> None:
    assert opening((Message("system", "s"),)) == ""
