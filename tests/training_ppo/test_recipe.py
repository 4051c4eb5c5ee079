"""The recipe from a config file to an artifact; killed runs; what the learner learns."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.manifest import Norm, from_json
from guerdon_training.cli import train_command
from guerdon_training.policy.base import policy_base
from guerdon_training.ppo.checkpoint import CHECKPOINT, trained_state
from guerdon_training.ppo.config import KlConfig, PpoConfig, PromptData
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.log import read_updates
from guerdon_training.ppo.progress import BEST, Job, Progress, evaluated
from guerdon_training.ppo.recipe import LOG, optimise, train_ppo
from tests.training_ppo.jobs import Killed, KillsAt, config_of, job_of, run
from tests.training_ppo.served import plain_artifact
from tests.training_ppo.tiny import WordShare, write_prompts

CONFIG = """
name: tiny-ppo
version: "1"
base: "{base}"
output: artifact
seed: 3
algorithm: {algorithm}
eval_every: 1
{extra}
data:
  train: prompts.jsonl
  valid: valid.jsonl
reward:
  artifacts: ["{reward}"]
gold:
  artifacts: ["{reward}"]
  profile: careful
scores:
  normalise_samples: 8
  missing_eos: subtract
rollout:
  prompts_per_update: 4
  samples_per_prompt: 2
  max_response_tokens: 6
kl:
  target: 2.0
optim:
  updates: 3
  learning_rate: 1e-3
  epochs: 2
  num_threads: 1
"""


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_artifact(tmp_path_factory.mktemp("reward") / "reward", "llama")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path / "prompts.jsonl")
    write_prompts(tmp_path / "valid.jsonl", 5, start=12)
    return tmp_path


def _write(
    here: Path, base: Path, reward: Path, *, algorithm: str = "ppo", extra: str = "", more: str = ""
) -> Path:
    text = CONFIG.format(base=base, reward=reward, algorithm=algorithm, extra=extra) + more
    (here / "config.yaml").write_text(text)
    return here / "config.yaml"


@pytest.mark.parametrize(
    ("algorithm", "extra", "more"),
    [("ppo", "", ""), ("rloo", "keep: best", "lora:\n  rank: 4\n  alpha: 8\n")],
)
def test_from_a_config_file_to_an_artifact(
    here: Path, policy_folder: Path, reward: Path, algorithm: str, extra: str, more: str
) -> None:
    config = _write(here, policy_folder, reward, algorithm=algorithm, extra=extra, more=more)
    assert train_command(["ppo", str(config)]) == 0
    folder = here / "artifact"
    manifest = from_json((folder / "manifest.json").read_text())
    assert (manifest.kind, manifest.name, len(manifest.digest)) == ("policy", "tiny-ppo", 64)
    assert manifest.parents["reward"]["name"] == "reward"
    assert manifest.parents["gold"]["profile"] == "careful"
    assert manifest.parents["config"]["algorithm"] == algorithm
    assert manifest.metrics["updates"] == 3
    lines = read_updates(folder / LOG)
    assert [line["update"] for line in lines] == [0, 1, 2, 3]
    assert lines[0] == manifest.metrics["start"]
    assert lines[0]["valid/kl"] == pytest.approx(0.0, abs=1e-5)
    wanted = {
        "objective/score", "objective/kl", "objective/kl_k3", "objective/kl_coefficient", "policy/entropy",
        "policy/clip_fraction", "policy/approx_kl", "policy/grad_norm", "loss/policy", "response/length",
        "response/eos_rate", "value/explained_variance", "valid/gold", "valid/score", "lr",
    }  # fmt: skip
    wanted |= {"loss/value"} if algorithm == "ppo" else set()
    assert wanted <= set(lines[-1])
    assert lines[-1]["lr"] == pytest.approx(1e-3 / 3)
    assert lines[1]["objective/kl_coefficient"] != lines[2]["objective/kl_coefficient"]
    assert not (folder / ".run").exists()

    policy, base = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (folder, policy_folder))
    moved = any(not torch.equal(policy[k], base[k]) for k in base)
    assert moved is (algorithm == "ppo" or manifest.metrics["kept_update"] > 0)
    assert policy_base(str(folder)) == Path(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template


def test_a_run_repeats_bit_for_bit(here: Path, policy_folder: Path, reward: Path) -> None:
    digests = []
    for _ in range(2):
        digests.append(train_ppo(_write(here, policy_folder, reward)).digest)
        (here / "artifact").rename(here / f"artifact-{len(digests)}")
    assert digests[0] == digests[1]


def _learning(base: Path, algorithm: str, **changes: Any) -> PpoConfig:
    config = config_of(base, algorithm, **changes)
    samples = config.rollout.samples_per_prompt
    return replace(
        config,
        rollout=replace(config.rollout, prompts_per_update=48 // samples),
        optim=replace(config.optim, updates=16, epochs=3, minibatches=1, learning_rate=1e-2),
    )


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_reward_rises(policy_folder: Path, tmp_path: Path, algorithm: str) -> None:
    lines = run(job_of(_learning(policy_folder, algorithm), tmp_path))
    scores = [line["objective/score"] for line in lines]
    assert sum(scores[:2]) / 2 < -0.3
    assert sum(scores[-3:]) / 3 > 0.4
    assert lines[-1]["response/eos_rate"] > 0.9
    assert lines[-1]["objective/kl"] > 1.0
    assert all(line["objective/kl_k3"] >= 0.0 for line in lines)


def test_training_stops_once_the_policy_is_too_far(policy_folder: Path, tmp_path: Path) -> None:
    config = _learning(policy_folder, "ppo", kl=KlConfig(0.0, stop=0.5))
    job = job_of(config, tmp_path)
    job = replace(job, valid=job.train[:4])
    *before, last = run(job)
    assert 0 < len(before) < 8
    assert all(line["objective/kl"] < 0.5 for line in before)
    assert last["objective/kl"] >= 0.5
    assert last["stopped"] == 1.0
    assert "loss/policy" not in last  # nothing was learnt from it
    assert "valid/score" in last


class Falling(WordShare):
    """A gold reward that turns over: each evaluation after the second is worse."""

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        self.calls += 1
        return [{1: 0.0, 2: 1.0}.get(self.calls, -float(self.calls))] * len(conversations)


def test_the_best_evaluation_is_kept(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder, keep="best", eval_every=1, data=PromptData("", "p"))
    job = job_of(config, tmp_path, gold=Falling())
    job = replace(job, valid=job.train[:4])
    run(job)
    kept = trained_state(job.networks.learner)
    one = replace(config, optim=replace(config.optim, updates=3), keep="last")
    after_first = job_of(one, tmp_path / "..", reward=KillsAt(1))
    after_first = replace(after_first, run=tmp_path / "first")
    with pytest.raises(Killed):
        run(after_first)
    for name, weights in trained_state(after_first.networks.learner).items():
        assert torch.equal(kept[name], weights)
    assert (job.run / BEST).is_file()


class Refusing(WordShare):
    """A gold reward that takes no response."""

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        return [None] * len(conversations)


def test_where_every_response_is_refused_the_base_is_kept(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder, "rloo", keep="best", eval_every=1)
    config = replace(config, optim=replace(config.optim, updates=1))
    job = job_of(config, tmp_path, gold=Refusing())
    before = {name: w.clone() for name, w in trained_state(job.networks.learner).items()}
    figures = optimise(Accelerator(), replace(job, valid=job.train[:4]))
    assert figures["kept_update"] == 0
    json.dumps(figures, allow_nan=False)  # a manifest is JSON, which knows no infinity
    assert "valid/gold" not in figures["last"] and figures["last"]["valid/gold_refused"] == 4
    after = trained_state(job.networks.learner)
    assert all(torch.equal(after[name], weights) for name, weights in before.items())


class Silenced(WordShare):
    """A reward far from 0, by which the trained policy falls silent on every other prompt, the hard ones."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        self.calls += 1
        hard, easy = (-102.0, -100.0) if self.calls == 1 else (None, -100.0 + self.gain)
        return [easy if i % 2 else hard for i in range(len(conversations))]


@pytest.mark.parametrize(("gain", "kept"), [(0.0, 0), (0.5, 1)])
def test_silence_on_hard_prompts_does_not_pay_by_gold_whatever_its_scale(
    policy_folder: Path, tmp_path: Path, gain: float, kept: int
) -> None:
    config = config_of(policy_folder, "rloo", keep="best", eval_every=1)
    config = replace(config, optim=replace(config.optim, updates=1))
    job = job_of(config, tmp_path, gold=Silenced(gain))
    figures = optimise(Accelerator(), replace(job, valid=job.train[:4]))
    assert figures["kept_update"] == kept
    assert (figures["last"]["valid/gold"], figures["last"]["valid/gold_refused"]) == (-100.0 + gain, 2.0)


def test_a_refusal_of_the_reward_that_trains_counts_as_it_does_in_training(
    policy_folder: Path, tmp_path: Path
) -> None:
    config = config_of(policy_folder, "rloo")
    job = job_of(config, tmp_path, Silenced(1.0))
    start = Progress(KlController(0.1), Norm(mean=2.0, std=10.0), done=1)
    first, then = (
        evaluated(Accelerator(), replace(job, valid=job.train[:4]), start, ends=True)[0].best
        for _ in range(2)
    )
    assert [first, then] == pytest.approx([-101.0, (-99.0 + 2.0 - 30.0) / 2])


class Rising(WordShare):
    """A gold reward that finds each evaluation better than the last."""

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        self.calls += 1
        return [float(self.calls)] * len(conversations)


@pytest.mark.parametrize("stop", [0.5, 0.0])
def test_weights_beyond_the_kl_that_stops_are_never_the_best(
    policy_folder: Path, tmp_path: Path, stop: float
) -> None:
    config = _learning(policy_folder, "ppo", keep="best", eval_every=1, kl=KlConfig(0.0, stop=stop))
    config = replace(config, optim=replace(config.optim, updates=6))
    job = job_of(config, tmp_path, gold=Rising())
    job = replace(job, valid=job.train)
    figures = optimise(Accelerator(), job)
    lines = [line for line in read_updates(job.run / LOG) if "stopped" not in line]  # that one looks again
    near = [line["update"] for line in lines if line["valid/kl"] < (stop or float("inf"))]
    assert figures["kept_update"] == near[-1]
    assert lines[-1]["valid/kl"] > 0.5  # gold liked these best


def test_evaluations_come_when_asked_for_and_with_the_same_noise(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder, eval_every=2)
    job: Job = replace(job_of(config, tmp_path), gold=WordShare("blue"))
    job = replace(job, valid=job.train[:4])
    lines = run(job)
    assert [("valid/gold" in line) for line in lines] == [False, True, True]
    start = Progress(KlController(0.1), Norm())
    first, again = (evaluated(Accelerator(), job, start, ends=True) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("broken", "save_every", "eval_every"),
    [(1, 1, 0), (3, 2, 0), (4, 2, 0), (4, 99, 0), (2, 99, 1)],
    ids=["first", "between two checkpoints", "at the second", "last of all", "evaluated"],
)
def test_weights_that_a_last_step_broke_are_never_written(
    policy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: int,
    save_every: int,
    eval_every: int,
) -> None:
    """One step an update: its own loss was still finite."""
    monkeypatch.setattr(
        "guerdon_training.ppo.recipe.learning_rate",
        lambda start, done, _: float("inf") if done + 1 == broken else start,
    )
    config = config_of(policy_folder, save_every=save_every, eval_every=eval_every, keep="best")
    config = replace(config, optim=replace(config.optim, updates=4, epochs=1, minibatches=1))
    job = job_of(config, tmp_path, gold=Rising())
    job = replace(job, valid=job.train[:4] if eval_every else [])
    with pytest.raises(GuerdonError, match=r"log-probabilities are not finite; lower optim\.learning_rate"):
        optimise(Accelerator(), job)
    saved = {path.name: torch.load(path, weights_only=True) for path in job.run.glob("*.pt")}
    last = (broken - 1) // save_every * save_every
    assert set(saved) == ({CHECKPOINT} if last else set()) | ({BEST} if eval_every else set())
    assert all(bool(w.isfinite().all()) for state in saved.values() for w in state["learner"].values())
    if last:
        assert saved[CHECKPOINT]["progress"]["done"] == last


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("algorithm: ppo", "algorithm: grpo", "algorithm must be one of ppo, rloo"),
        ("algorithm: ppo", "algoritm: ppo", "did you mean algorithm"),
        ("samples_per_prompt: 2", "samples_per_prompt: 0", "samples_per_prompt must be at least 1"),
        ("updates: 3", "updates: 3\n  minibatches: 9", "minibatches must be between 1 and 8"),
        (
            "missing_eos: subtract",
            "missing_eos: subtract\n  unscorable: -.inf",
            r"scores\.unscorable must be finite",
        ),
        ("updates: 3", "updates: 3\n  lam: 2.0", r"optim\.lam must be in \[0, 1\]"),
        ("updates: 3", "updates: 3\n  clip: 0.0", r"optim\.clip must be above 0"),
        (
            "max_response_tokens: 6",
            "max_response_tokens: 257",
            r"rollout\.max_prompt_tokens with max_response_tokens is 513, but the base reads 512 at most",
        ),
        ("missing_eos: subtract", "missing_eos: drop", "scores.missing_eos must be one of"),
        ("normalise_samples: 8", "normalise_samples: 1", "normalise_samples"),
        ("valid: valid.jsonl", "", "data.valid"),
        ("valid: valid.jsonl", "valid: prompts.jsonl", r"prompts\.jsonl \(record prompt 1\) share a prompt"),
        ("reward:\n  artifacts", "reward:\n  url: grpc://x\n  artifacts", "either artifacts or url"),
        ("train: prompts.jsonl", "train: absent.jsonl", "absent.jsonl does not exist"),
        ("eval_every: 1", "eval_every: 1\nsave: adapter", "adapter"),
    ],
)
def test_a_bad_config_is_refused_before_anything_is_written(
    here: Path, policy_folder: Path, reward: Path, old: str, new: str, said: str
) -> None:
    path = _write(here, policy_folder, reward)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InvalidInput, match=said):
        train_ppo(path)
    assert not (here / "artifact").exists()


def test_rloo_needs_a_group(here: Path, policy_folder: Path, reward: Path) -> None:
    path = _write(here, policy_folder, reward, algorithm="rloo")
    path.write_text(path.read_text().replace("samples_per_prompt: 2", "samples_per_prompt: 1"))
    with pytest.raises(InvalidInput, match="at least 2 for rloo"):
        train_ppo(path)


def test_the_resolved_config_is_in_the_manifest(here: Path, policy_folder: Path, reward: Path) -> None:
    manifest = train_ppo(_write(here, policy_folder, reward))
    assert manifest.parents["config"]["optim"]["clip"] == 0.2
    assert json.loads(json.dumps(asdict(manifest)))["parents"]["data_sha256"].keys() == {"train", "valid"}
