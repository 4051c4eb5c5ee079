"""What a card says of a head, against planted scores."""

import numpy as np
import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.manifest import Manifest
from guerdon_training.card import NOT_SHOWN, WORSE, measured
from guerdon_training.data import PreferencePair
from guerdon_training.measure import Scored, accuracies
from guerdon_training.tagging import Tagged


def _scored(i: int, margin: float, source: str = "s") -> Scored:
    """A pair of which the longer response is preferred."""
    pair = PreferencePair(str(i), (Message("user", f"prompt {i}"),), "long", "no", source, "")
    return Scored(Tagged(pair, 0), np.array([[margin], [0.0]]))


def _card(scored: list[Scored]) -> str:
    figures = accuracies(scored, ["quality"])["quality"]
    metrics = {"quality": {"test": figures}}
    return "\n".join(measured(Manifest("m", "1", (), {}, 64, metrics=metrics), ["quality"]))


@pytest.mark.parametrize(("num_right", "said"), [(20, WORSE), (39, NOT_SHOWN)])
def test_a_head_that_is_worse_than_length_is_not_called_undecided(num_right: int, said: str) -> None:
    card = _card([_scored(i, 1.0 if i < num_right else -1.0) for i in range(40)])
    assert [text in card for text in (WORSE, NOT_SHOWN)] == [said == WORSE, said == NOT_SHOWN]


def test_a_source_may_be_called_pooled_or_nothing() -> None:
    right, wrong = ([_scored(i, m, source) for i in range(4)] for m, source in ((1.0, ""), (-1.0, "pooled")))
    assert accuracies([*right, *wrong], ["q"])["q"]["pooled"]["accuracy"]["value"] == 0.5
    assert "\n| (no source) | 4 |" in _card([*right, *wrong])
