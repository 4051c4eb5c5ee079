"""The rows of the bench that need no wire, on tiny models; of times nothing is asserted."""

from guerdon_service.app.bench.in_process import alias_lookup, rank_tokens
from tests.tiny import tiny


def test_a_ranking_computes_its_prompt_once() -> None:
    share, counted = rank_tokens(str(tiny("llama")), rounds=1, prompt_words=50, response_words=10)
    assert 1.0 <= share.value <= 1.1 and share.passed
    assert counted.value > 16


def test_looking_up_an_alias_and_a_name_are_measured() -> None:
    by_alias, by_name = alias_lookup(str(tiny("llama")), rounds=2)
    assert (by_alias.unit, by_alias.asked) == ("us", "<= 50")
    assert by_alias.value > 0 and by_name.value > 0
