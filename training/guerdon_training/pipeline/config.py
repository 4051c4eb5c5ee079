"""What `guerdon train pipeline` reads."""

from dataclasses import dataclass

from guerdon_training.audit.records import DEFAULT_BUDGET
from guerdon_training.config import RewardConfig
from guerdon_training.dpo import DpoConfig
from guerdon_training.ppo.config import PpoConfig, RolloutConfig
from guerdon_training.sft import SftConfig


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """Files to audit together.

    against: evaluation files, looked up for leaks.
    accept: names of checks that may fail; any other failing check stops the pipeline.
    max_chars: context that a pair has to fit.
    """

    files: tuple[str, ...]
    against: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    max_chars: int = DEFAULT_BUDGET.limit


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Preference pairs. Train and valid are halved by prompt; test is only ever measured on."""

    train: str
    valid: str
    test: str


@dataclass(frozen=True, slots=True)
class CompareConfig:
    """How the policies are compared: one response a prompt, with the same noise for each policy.

    prompts: file with prompts that nothing was trained on. sources: keep only these; empty keeps all.
    num_prompts: drawn with the seed; 0 keeps all. max_prompt_tokens: longer prompts are left out.
    unscorable: score of a response that a reward model refuses, e.g. an empty one, in normalised units.
    profiles: what the gold model is asked beside the profile that PPO trains on.
    """

    prompts: str
    max_response_tokens: int
    seed: int
    sources: tuple[str, ...] = ()
    num_prompts: int = 0
    max_prompt_tokens: int = 256
    temperature: float = 0.7
    unscorable: float = -3.0
    profiles: tuple[str, ...] = ()
    batch_size: int = 32
    max_row_tokens: int = 1024

    @property
    def rollout(self) -> RolloutConfig:
        """The same for the sampler."""
        return RolloutConfig(
            prompts_per_update=1,
            max_response_tokens=self.max_response_tokens,
            max_prompt_tokens=self.max_prompt_tokens,
            temperature=self.temperature,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True, slots=True)
class CardConfig:
    """What the reward models' cards are measured on beside all test pairs, and what no figure can tell.

    num_robustness_pairs: test pairs that the transforms are tried on.
    ratings: file of texts rated by people who say who they are, higher being worse; "" for none.
    profile: of the reward models, for both; "" is their default.
    limits: what the policies must not be used for, a sentence each.
    """

    num_robustness_pairs: int = 200
    ratings: str = ""
    profile: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Every stage's own config; `wiring.wire` fills in what connects them.

    name: of the models, each followed by its stage. output: folder of all stages.
    gold: the recipe of `reward` on the other half of the pairs.
    """

    name: str
    version: str
    output: str
    seed: int
    audit: AuditConfig
    pairs: PairFiles
    sft: SftConfig
    reward: RewardConfig
    gold: RewardConfig
    dpo: DpoConfig
    ppo: PpoConfig
    compare: CompareConfig
    card: CardConfig
