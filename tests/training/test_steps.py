"""Every comparison is trained on once per epoch, beside the rows it compares."""

from random import Random

from guerdon_service.core.conversation import Message
from guerdon_training.config import BaseConfig
from guerdon_training.data import PreferencePair
from guerdon_training.model import base_folder, load_tokenizer
from guerdon_training.rows import build_rows
from guerdon_training.steps import epoch_steps
from guerdon_training.tagging import Tagged

ANSWERS = ("one", "one two", "two two two", "three is very good")


def _tagged() -> list[Tagged]:
    return [
        Tagged(PreferencePair("id", (Message("user", "why " * n),), ANSWERS[i], ANSWERS[j], "s", ""), n % 2)
        for n in range(1, 12)
        for i in range(4)
        for j in range(i + 1, 4)
    ]


def test_four_ranked_answers_are_four_rows_and_six_comparisons(tiny_base: BaseConfig) -> None:
    rows = build_rows(_tagged(), load_tokenizer(base_folder(tiny_base)), 64)
    assert len(rows.tokens) == 11 * 4
    assert [len(g) for g in rows.groups] == [6] * 11
    assert rows.positions == tuple(range(66))


def test_pairs_that_do_not_fit_leave_a_gap_in_the_positions(tiny_base: BaseConfig) -> None:
    tokenizer = load_tokenizer(base_folder(tiny_base))
    tagged = _tagged()[:3]
    long = PreferencePair("id", tagged[0].pair.prompt, "good " * 70, "bad", "s", "")
    rows = build_rows([tagged[0], Tagged(long, 0), *tagged[1:]], tokenizer, 64)
    assert rows.positions == (0, 2, 3)


def test_an_epoch_holds_every_comparison_once(tiny_base: BaseConfig) -> None:
    tagged = _tagged()
    rows = build_rows(tagged, load_tokenizer(base_folder(tiny_base)), 64)
    steps = list(epoch_steps(rows, 12, 120, Random(0)))
    assert [sum(len(b.comparisons) for b in step) for step in steps] == [12, 12, 12, 12, 12, 6]
    assert max(len(step) for step in steps) > 1
    seen = sorted(
        (batch.rows[c.chosen], batch.rows[c.rejected], c.head)
        for step in steps
        for batch in step
        for c in batch.comparisons
    )
    assert seen == sorted((c.chosen, c.rejected, c.head) for c in rows.comparisons)


def test_micro_batches_keep_to_the_token_budget(tiny_base: BaseConfig) -> None:
    rows = build_rows(_tagged(), load_tokenizer(base_folder(tiny_base)), 64)
    for step in epoch_steps(rows, 30, 120, Random(1)):
        for batch in step:
            width = max(len(rows.tokens[r].input_ids) for r in batch.rows)
            assert width * len(batch.rows) <= 120 or len(batch.rows) == 4
            assert len(set(batch.rows)) == len(batch.rows)
