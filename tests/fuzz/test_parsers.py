"""A little of `make fuzz`: the same mutations each time, so that a failure is found again."""

import pytest

from tests.fuzz.mutate import mutations
from tests.fuzz.targets import SEEDS, TARGETS

NUM_INPUTS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_no_parser_raises_anything_but_its_errors(name: str) -> None:
    for data in mutations(SEEDS[name], NUM_INPUTS, seed=7):
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"{name} of {data!r}")
            raise


def test_every_target_has_seeds_and_each_is_taken() -> None:
    assert set(SEEDS) == set(TARGETS)
    for seeds in SEEDS.values():
        assert list(mutations(seeds, 100, 1))[: len(seeds)] == list(seeds)
        assert len(set(mutations(seeds, 100, 1))) > 60
