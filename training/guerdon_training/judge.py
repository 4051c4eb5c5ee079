"""Preference pairs judged by anything that scores conversations."""

from collections.abc import Sequence

from guerdon_service.core.conversation import Conversation
from guerdon_training.data import PreferencePair
from guerdon_training.evaluate import Judged
from guerdon_training.ppo.reward_source import RewardSource


def judge(source: RewardSource, pairs: Sequence[PreferencePair]) -> list[Judged]:
    """The scores of each pair's responses, for `evaluate.measure`; None where one is refused."""
    texts = [Conversation(p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)]
    scores = source.score(texts)
    judged = []
    for pair, chosen, rejected in zip(pairs, scores[::2], scores[1::2], strict=True):
        both = None if chosen is None or rejected is None else (chosen, rejected)
        judged.append(Judged(pair, both))
    return judged
