"""What `guerdon train ppo` reads; defaults with their sources."""

from dataclasses import dataclass, field

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
    url: ``http://``, ``https://``, ``grpc://`` or ``grpcs://`` of a service; its key, where it asks for one,
        is in $GUERDON_API_KEY, and files for TLS are in $GUERDON_CLIENT_TLS_...
    model: ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS`` that the service holds, or an ensemble; "" is its
        default. A run keeps to the version that it means when the run begins.
    profile: "" is the model's default.
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
    keep: weights of the ``last`` update, or of the ``best`` evaluation closer to the reference than kl.stop,
        by gold where it is given.
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
