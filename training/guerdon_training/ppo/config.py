"""What `guerdon train ppo` reads; defaults with their sources."""

from dataclasses import dataclass, field

from guerdon_service.core.errors import InvalidInput
from guerdon_training.policy.config import PolicyLora

ALGORITHMS = ("ppo", "rloo")
KEEPS = ("last", "best")
MISSING_EOS = ("replace", "subtract", "keep")


@dataclass(frozen=True, slots=True)
class PromptData:
    """Files of prompts, relative to the working folder; rows with `prompt`, other columns are ignored.

    valid: prompts for the evaluations; "" for none.
    sources: keep only these; empty keeps all.
    max_train, max_valid: prompts kept, drawn with the seed; 0 keeps all.
    """

    train: str
    valid: str = ""
    sources: tuple[str, ...] = ()
    max_train: int = 0
    max_valid: int = 0


@dataclass(frozen=True, slots=True)
class ScoreSource:
    """Artifacts on this machine, or a running service; exactly one of `artifacts` and `url`.

    artifacts: folders; several make an ensemble, ``mean - conservatism * std``.
    url: ``http://`` or ``grpc://`` of a service; its key, where it asks for one, is in $GUERDON_API_KEY.
    model: a model that the service holds; "" is its default. profile: "" is the model's default.
    """

    artifacts: tuple[str, ...] = ()
    url: str = ""
    model: str = ""
    profile: str = ""
    conservatism: float = 0.0

    @property
    def given(self) -> bool:
        """Whether it names anything."""
        return bool(self.artifacts or self.url)


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """From what the reward model says to the score of a response.

    missing_eos: what happens to a response that ended at `max_response_tokens`: ``replace`` its score by
        -`missing_eos_penalty` (N+ detail 10), ``subtract`` that, or ``keep`` it.
    unscorable: score of a response that the reward model refuses, an empty one above all; below what bad
        responses get, or silence pays.
    normalise_samples: responses of the reference that fix the mean and the deviation which scores are
        normalised with before training (Ziegler et al., arXiv 1909.08593, section 2.1); 0 does not.
    whiten: scale the batch's token rewards to unit variance, keeping their mean; off in N+.
    """

    missing_eos: str = "replace"
    missing_eos_penalty: float = 1.0
    unscorable: float = -3.0
    normalise_samples: int = 0
    whiten: bool = False


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """Sampling.

    prompts_per_update: over all processes.
    samples_per_prompt: 1 for PPO; k >= 2 for RLOO, 4 in its paper.
    max_prompt_tokens: longer prompts are left out.
    temperature: also divides the logits of every log-probability; 0.7 in Ziegler et al. and N+.
    top_p: 1.0, or the samples are not the policy's own.
    batch_size: responses generated at once; speed and memory only.
    """

    prompts_per_update: int
    max_response_tokens: int
    samples_per_prompt: int = 1
    max_prompt_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 1.0
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class KlConfig:
    """Penalty on the KL divergence from the reference; 0.05 and fixed in N+.

    target: nats per response; above 0 the coefficient adapts (6 in Ziegler et al., from 0.15).
    stop: a rollout this many nats per response away from the reference ends the training; 0.0 never does.
    """

    coefficient: float = 0.05
    target: float = 0.0
    horizon: int = 10_000
    stop: float = 0.0


@dataclass(frozen=True, slots=True)
class PpoOptim:
    """Adam, annealed linearly to 0 (N+ details 7 and 13 to 15; the values are those of N+).

    updates: rollouts. epochs: passes over each of them. minibatches: steps of a pass.
    value_learning_rate: of the critic; 0.0 takes `learning_rate`.
    adam_eps: PyTorch's 1e-8 moves further in the first steps than the original did.
    clip: of the ratio. value_clip: of the change in values.
    value_weight: of the value loss beside the policy loss.
    max_row_tokens: tokens that go through the model at once; speed and memory only.
    """

    updates: int
    learning_rate: float = 3e-6
    value_learning_rate: float = 0.0
    epochs: int = 4
    minibatches: int = 1
    adam_eps: float = 1e-5
    max_grad_norm: float = 1.0
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    max_row_tokens: int = 1024
    num_threads: int = 2


@dataclass(frozen=True, slots=True)
class PpoConfig:
    """Everything that one run depends on.

    base: a folder, or a package (`policy.base.policy_base`); also the reference.
    output: folder of the artifact. save: ``merged`` whole weights, or the ``adapter`` of a package.
    gold: a reward that is never trained on, for the evaluations on data.valid.
    save_every: updates between checkpoints. eval_every: updates between evaluations; 0 is at both ends alone.
    keep: weights of the ``last`` update, or of the ``best`` evaluation, by gold where it is given.
    """

    name: str
    version: str
    base: str
    output: str
    seed: int
    data: PromptData
    reward: ScoreSource
    rollout: RolloutConfig
    optim: PpoOptim
    algorithm: str = "ppo"
    gold: ScoreSource = field(default_factory=ScoreSource)
    scores: ScoreRule = field(default_factory=ScoreRule)
    kl: KlConfig = field(default_factory=KlConfig)
    lora: PolicyLora = field(default_factory=PolicyLora)
    keep: str = "last"
    save: str = "merged"
    save_every: int = 1
    eval_every: int = 0


def check_ppo(config: PpoConfig) -> None:
    """Refuse values that no run could use.

    Raises:
        InvalidInput: the key is named.
    """
    rollout, optim, kl, scores = config.rollout, config.optim, config.kl, config.scores
    batch = rollout.prompts_per_update * rollout.samples_per_prompt
    problems = {
        f"algorithm must be one of {', '.join(ALGORITHMS)}": config.algorithm not in ALGORITHMS,
        "rollout.prompts_per_update must be at least 1": rollout.prompts_per_update < 1,
        "rollout.samples_per_prompt must be at least 1": rollout.samples_per_prompt < 1,
        "rollout.samples_per_prompt must be at least 2 for rloo: the other samples are its baseline": (
            config.algorithm == "rloo" and rollout.samples_per_prompt < 2
        ),
        "rollout.max_response_tokens must be at least 1": rollout.max_response_tokens < 1,
        "rollout.temperature must be above 0": not rollout.temperature > 0,
        "rollout.top_p must be in (0, 1]": not 0 < rollout.top_p <= 1,
        "rollout.batch_size must be at least 1": rollout.batch_size < 1,
        "optim.updates must be at least 1": optim.updates < 1,
        "optim.epochs must be at least 1": optim.epochs < 1,
        f"optim.minibatches must be between 1 and {batch}, the responses of an update": (
            not 1 <= optim.minibatches <= batch
        ),
        "optim.learning_rate must be above 0": not optim.learning_rate > 0,
        "kl.coefficient must be at least 0": not kl.coefficient >= 0,
        "kl.target must be at least 0": not kl.target >= 0,
        "kl.horizon must be at least 1": kl.horizon < 1,
        f"scores.missing_eos must be one of {', '.join(MISSING_EOS)}": scores.missing_eos not in MISSING_EOS,
        "scores.normalise_samples must be 0 or at least 2": scores.normalise_samples == 1,
        "save_every must be at least 1": config.save_every < 1,
        f"keep must be one of {', '.join(KEEPS)}": config.keep not in KEEPS,
        "eval_every and keep = best need data.valid": (
            not config.data.valid and (config.eval_every > 0 or config.keep == "best")
        ),
        "gold is for evaluations; give data.valid with it": config.gold.given and not config.data.valid,
    }
    problems |= _source_problems("reward", config.reward, required=True)
    problems |= _source_problems("gold", config.gold, required=False)
    for sentence, wrong in problems.items():
        if wrong:
            raise InvalidInput(f"config {sentence}", param=sentence.split()[0])


def _source_problems(name: str, source: ScoreSource, *, required: bool) -> dict[str, bool]:
    return {
        f"{name} must give artifacts or url": required and not source.given,
        f"{name} must give either artifacts or url, not both": bool(source.artifacts and source.url),
        f"{name}.model goes with {name}.url": bool(source.model and not source.url),
        f"{name}.conservatism must be at least 0": not source.conservatism >= 0,
        f"{name}.conservatism goes with {name}.artifacts; a service keeps it in its own settings": bool(
            source.conservatism and source.url
        ),
    }
