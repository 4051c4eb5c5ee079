"""The pairs of a reward run by split: read, checked, tagged with what they train and what they say."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from guerdon_training.config import RewardConfig, SourceConfig
from guerdon_training.crossed import crossed_pairs
from guerdon_training.data import PreferencePair, read_decided, read_pairs
from guerdon_training.flip_rates import read_flip_rates
from guerdon_training.splits import check_splits
from guerdon_training.tagging import Tagged, tag
from guerdon_training.targets import audited_source, with_targets
from guerdon_training.usable import check_sources, check_usable, left_out


def tagged_splits(config: RewardConfig, say: Callable[[str], object]) -> dict[str, list[Tagged]]:
    """``train``, with the crossed pairs and with targets, ``valid`` and ``test``.

    Args:
        say: is told, a line for each, of ties and of what no head takes of a file, and of flip rates that are
            not used.

    Raises:
        InvalidInput: a file cannot be used, lacks pairs of a head, or shares a prompt with another; or the
            config names a source that none has.
    """
    files = asdict(config.data)
    train, valid, test = (
        read_pairs(Path(file), ties=True)
        if config.objective.uses_ties and split == "train"
        else read_decided(file, say)[0]
        for split, file in files.items()
    )
    crossed = [
        Tagged(pair, number)
        for number, source in crossed_sources(config)
        for pair in crossed_pairs(Path(source.crossed), source.source)
    ]
    check_sources([*train, *valid, *test, *(t.pair for t in crossed)], config.heads)
    for pairs, file in zip((train, valid, test), files.values(), strict=True):
        if line := left_out(pairs, config.heads, file):
            say(line)
    tagged = {"train": _train_pairs(config, train, crossed, say)}
    tagged |= {s: tag(pairs, config.heads, trained=False) for s, pairs in (("valid", valid), ("test", test))}
    for split in ("valid", "test"):
        check_usable(tagged[split], config.heads, files[split])
    check_splits(files, {split: ((t.pair.id, t.pair.prompt) for t in own) for split, own in tagged.items()})
    return tagged


def crossed_sources(config: RewardConfig) -> list[tuple[int, SourceConfig]]:
    """Sources with a file of crossed completions, each with the number of the head that it trains."""
    return [(number, s) for number, head in enumerate(config.heads) for s in head.sources if s.crossed]


def served_by_default(tagged: Sequence[Tagged], config: RewardConfig) -> list[PreferencePair]:
    """The pairs of the heads that the default profile weighs: those that the model is calibrated on."""
    weights = config.profiles[min(config.profiles)]
    return [t.pair for t in tagged if weights.get(config.heads[t.head].name, 0.0) != 0.0]


def _train_pairs(
    config: RewardConfig,
    pairs: Sequence[PreferencePair],
    crossed: Sequence[Tagged],
    say: Callable[[str], object],
) -> list[Tagged]:
    objective, flip_rate = config.objective, config.optim.flip_rate
    tagged = tag(pairs, config.heads, trained=True)
    check_usable(tagged, config.heads, config.data.train)
    every = [*tagged, *crossed]
    sources = {audited_source(t.pair) for t in every}
    flip_rates = read_flip_rates(Path(objective.flip_rates), sources, say) if objective.flip_rates else {}
    return with_targets(every, objective, flip_rate, flip_rates)
