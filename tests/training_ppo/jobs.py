"""Jobs on the tiny policy, without files in between."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from guerdon_service.core.conversation import Conversation
from guerdon_training.policy.config import PolicyLora
from guerdon_training.ppo.config import KlConfig, PpoConfig, PpoOptim, PromptData, RolloutConfig, ScoreSource
from guerdon_training.ppo.log import read_updates
from guerdon_training.ppo.models import build_networks
from guerdon_training.ppo.progress import Job
from guerdon_training.ppo.prompts import read_prompts
from guerdon_training.ppo.recipe import LOG, optimise
from guerdon_training.ppo.reward_source import RewardSource
from tests.training_ppo.tiny import WordShare, write_prompts

LORA = PolicyLora(rank=4, alpha=8)


def config_of(base: Path, algorithm: str = "ppo", **changes: Any) -> PpoConfig:
    """A run of a few seconds."""
    config = PpoConfig(
        name="tiny",
        version="1",
        base=str(base),
        output="",
        seed=3,
        algorithm=algorithm,
        data=PromptData("prompts.jsonl"),
        reward=ScoreSource(url="grpc://nowhere"),
        kl=KlConfig(0.01),
        rollout=RolloutConfig(
            prompts_per_update=16 if algorithm == "ppo" else 4,
            samples_per_prompt=1 if algorithm == "ppo" else 4,
            max_response_tokens=8,
            temperature=1.0,
        ),
        optim=PpoOptim(updates=3, learning_rate=5e-3, minibatches=2, num_threads=1),
    )
    return replace(config, **changes)


def job_of(config: PpoConfig, folder: Path, reward: RewardSource | None = None, **changes: Any) -> Job:
    """What `train_ppo` would make of the config, with a reward of the test's own."""
    networks = build_networks(config)
    prompts = read_prompts(write_prompts(folder / "prompts.jsonl"), networks.tokenizer, max_tokens=32)
    job = Job(config, networks, prompts, [], reward or WordShare(), None, "identity", folder / "run")
    return replace(job, **changes)


def run(job: Job) -> list[dict[str, float]]:
    """Train; the lines of the log, the one before the first update left out."""
    optimise(Accelerator(), job)
    return read_updates(job.run / LOG)[1:]


class Killed(BaseException):
    """Stands in for a signal."""


class KillsAt(WordShare):
    """Dies at its n-th call, once."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.call = call

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        if self.calls == self.call:
            self.call = -1
            raise Killed
        return super().score(conversations)
