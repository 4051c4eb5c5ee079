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
        ("\u0915\u093f \u0928\u0940", "\u0915\u0940 \u0928\u0940", False),  # ki ni, kii nii in Devanagari
        ("\u0e17\u0e35\u0e48", "\u0e17", False),  # Thai vowel and tone
        ("\u0915\u093f?", "\u0915\u093f", True),
        ("I \u2764\ufe0f it\ufe0f now", "I it now", True),  # a variation selector belongs to no word
        ("e\u0301t", "e t", True),  # an accent apart from its letter folds as it did
        ("\u0130stanbul", "i stanbul", True),  # lower case makes the same of a Turkish capital
        ("C++", "C#", True),  # as other signs do
        ("", " ", True),
    ],
)
def test_case_and_punctuation_tell_nothing_where_there_is_more(first: str, second: str, same: bool) -> None:
    found = [opening((Message("system", "s"), Message("user", text))) for text in (first, second)]
    assert (found[0] == found[1]) == same


def test_a_prompt_without_a_user_turn_opens_with_nothing() -> None:
    assert opening((Message("system", "s"),)) == ""
