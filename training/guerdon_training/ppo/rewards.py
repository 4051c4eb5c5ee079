"""A reward source from its part of the config."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from guerdon import Client
from guerdon.cli.environment import api_key, tls_for
from guerdon_training.policy.implicit_reward import FILE as IMPLICIT_REWARD
from guerdon_training.policy.implicit_source import open_implicit_reward
from guerdon_training.ppo.config import ScoreSource
from guerdon_training.ppo.ensemble_reward import EnsembleReward
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.ppo.remote_reward import RemoteReward
from guerdon_training.ppo.reward_source import RewardSource


@contextmanager
def open_reward(source: ScoreSource, device: torch.device) -> Iterator[RewardSource]:
    """The source that the config names, for as long as the block runs.

    Raises:
        InvalidInput: an artifact that cannot be used.
        guerdon.GuerdonError: the service cannot be reached, or does not hold the model.
    """
    profile = source.profile or None
    if source.url:
        with connected(source) as served:
            yield served
        return
    first = Path(next(iter(source.artifacts)))
    if len(source.artifacts) == 1 and (first / IMPLICIT_REWARD).is_file():
        yield open_implicit_reward(first, device)
        return
    members = tuple(open_local_reward(Path(folder), profile, device) for folder in source.artifacts)
    yield members[0] if len(members) == 1 else EnsembleReward(members, source.conservatism)


@contextmanager
def connected(source: ScoreSource) -> Iterator[RemoteReward]:
    """The served source that the config names, for as long as the block runs.

    Key and files for TLS are those of the environment, as for other commands that ask a service.

    Raises:
        guerdon.GuerdonError: the service cannot be reached, or does not hold the model, or key or files
            cannot be used.
    """
    with Client(source.url, api_key=api_key(), tls=tls_for(source.url)) as client:
        yield RemoteReward(client, source.model or None, source.profile or None)
