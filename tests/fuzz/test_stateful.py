"""A little of the histories that `make fuzz` plays: the same ones each time."""

from tests.fuzz.stateful import run_histories

NUM_HISTORIES = 6


def test_histories_of_calls_get_no_answer_that_the_document_does_not_allow() -> None:
    assert run_histories(NUM_HISTORIES, derandomize=True) > 2 * NUM_HISTORIES
