"""A bandit whose optimal policy is known: one token a response, ``pi* = pi_ref exp(r / beta) / Z``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon_service.core.conversation import Conversation, Message
from guerdon_training.dpo import train_dpo
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.encode import encode_examples
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.policy.logprobs import example_logprobs
from guerdon_training.policy.rows import pack
from guerdon_training.ppo.config import KlConfig, PpoConfig, PpoOptim, RolloutConfig, ScoreRule
from guerdon_training.ppo.models import build_networks
from guerdon_training.ppo.progress import Job
from guerdon_training.ppo.prompts import read_prompts
from tests.training_ppo.jobs import config_of, run
from tests.training_ppo.tiny import SPECIAL, WORDS, build_policy

ARMS = dict(zip(WORDS, (1.0, -0.5, 0.3, 0.8, -1.0, 0.0, 0.6, -0.2), strict=True))
NO_TEXT = 0.2
"""Reward of the special tokens: they leave an empty response."""
WEIGHTS = dict(zip(WORDS, (4, 1, 2, 3, 1, 2, 3, 1), strict=True))
"""Bradley-Terry weights, so rewards are their logarithms: of ``a + b`` comparisons exactly ``a`` prefer a."""
DPO = """
name: bandit
version: "1"
output: {folder}/artifact
base: {base}
max_tokens: 16
seed: 1
data: {{train: {folder}/train.jsonl, valid: {folder}/valid.jsonl, test: {folder}/test.jsonl}}
optim: {{epochs: 40, learning_rate: 2e-2, examples_per_step: 200, max_row_tokens: 512, num_threads: 1}}
loss: {{beta: 0.5}}
drift: {{num_prompts: 0}}
"""


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_policy(tmp_path_factory.mktemp("bandit") / "policy", num_layers=1)


class Arms:
    """Reward of each word."""

    @property
    def identity(self) -> dict[str, str]:
        return {"name": "arms"}

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        return [ARMS[c.response] if c.response else None for c in conversations]


def _config(base: Path, algorithm: str, beta: float) -> PpoConfig:
    samples = 1 if algorithm == "ppo" else 8
    return replace(
        config_of(base, algorithm),
        save_every=1000,
        kl=KlConfig(beta),
        scores=ScoreRule(missing_eos="keep", unscorable=NO_TEXT),
        rollout=RolloutConfig(
            prompts_per_update=128 // samples,
            samples_per_prompt=samples,
            max_response_tokens=1,
            temperature=1.0,
            batch_size=128,
        ),
        optim=PpoOptim(
            updates=40,
            learning_rate=8e-3,
            value_learning_rate=1e-2,
            epochs=2,
            max_row_tokens=384,
            num_threads=1,
        ),
    )


@dataclass(frozen=True)
class Outcome:
    """Log-probabilities of the arms, float64 [V], and the objective ``E[r] - beta KL(. || reference)``."""

    reference: torch.Tensor
    trained: torch.Tensor
    optimal: torch.Tensor
    rewards: torch.Tensor
    beta: float

    def objective(self, logs: torch.Tensor) -> float:
        """Exactly, over all arms."""
        return float((logs.exp() * (self.rewards - self.beta * (logs - self.reference))).sum())

    @property
    def kl(self) -> float:
        """KL(trained || reference) in nats, exactly."""
        return float((self.trained.exp() * (self.trained - self.reference)).sum())


def _train(base: Path, folder: Path, config: PpoConfig) -> Outcome:
    networks = build_networks(config)
    (folder / "p.jsonl").write_text(json.dumps({"prompt": "one"}) + "\n")
    prompts = read_prompts(folder / "p.jsonl", networks.tokenizer, max_tokens=32)

    def distribution() -> torch.Tensor:
        model: Any = networks.learner.policy
        with torch.no_grad():
            return torch.log_softmax(model(torch.tensor([prompts[0].ids])).logits[0, -1].double(), -1)

    rewards = torch.tensor([NO_TEXT] * len(SPECIAL) + [ARMS[w] for w in WORDS], dtype=torch.float64)
    reference = distribution()
    run(Job(config, networks, prompts, [], Arms(), None, "", folder / "run"))
    beta = config.kl.coefficient
    optimal = torch.log_softmax(reference + rewards / beta, -1)
    return Outcome(reference, distribution(), optimal, rewards, beta)


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_the_closed_form_optimum_is_reached(one_layer: Path, tmp_path: Path, algorithm: str) -> None:
    found = _train(one_layer, tmp_path, _config(one_layer, algorithm, 0.5))
    _check_optimal(found)


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_a_huge_kl_penalty_holds_the_policy_at_the_reference(
    one_layer: Path, tmp_path: Path, algorithm: str
) -> None:
    config = _config(one_layer, algorithm, 100.0)
    found = _train(one_layer, tmp_path, config)
    assert found.kl < 0.005
    assert float((found.trained.exp() - found.reference.exp()).abs().max()) < 0.03


def test_dpo_reaches_the_closed_form_optimum(one_layer: Path, tmp_path: Path) -> None:
    """By the whole recipe, from all comparisons of words in the proportions of Bradley-Terry.

    The splits' prompts are words that the policy does not know, so it sees one prompt. A response is a word
    and its end; what else it could write was never compared, so it is looked at among the words.
    """
    judged = [(a, b) for a, b in permutations(WORDS, 2) for _ in range(WEIGHTS[a])]
    for split in ("train", "valid", "test"):
        prompt = [{"role": "user", "content": f"unknown-{split}"}]
        lines = [{"prompt": prompt, "chosen": a, "rejected": b, "source": "made"} for a, b in judged]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (tmp_path / "config.yaml").write_text(DPO.format(base=one_layer, folder=tmp_path), "utf-8")
    train_dpo(tmp_path / "config.yaml")

    reference, trained = (_words(folder) for folder in (one_layer, tmp_path / "artifact"))
    rewards = torch.tensor([WEIGHTS[word] for word in WORDS], dtype=torch.float64).log()
    found = Outcome(reference, trained, torch.log_softmax(reference + rewards / 0.5, -1), rewards, 0.5)
    _check_optimal(found)


def _words(folder: Path) -> torch.Tensor:
    """Log-probabilities of the responses that are one word, among these: float64 [V]."""
    model, tokenizer = load_policy(folder, PolicyLora(), 0), load_tokenizer(folder)
    found = encode_examples(tokenizer, (Message("user", "unknown"),), WORDS, 16)
    assert found is not None
    with torch.no_grad():
        return torch.log_softmax(example_logprobs(model, pack(found)).double(), -1)


def _check_optimal(found: Outcome) -> None:
    best, start = found.objective(found.optimal), found.objective(found.reference)
    total = torch.logsumexp(found.reference + found.rewards / found.beta, -1)
    assert best == pytest.approx(found.beta * float(total))
    assert best - found.objective(found.trained) < 0.01 * (best - start)
    assert float((found.trained.exp() - found.optimal.exp()).abs().max()) < 0.03
    assert found.kl > 0.1
