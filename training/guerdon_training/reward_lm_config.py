"""What `guerdon train reward-lm` reads, and what of it no run could use."""

from dataclasses import dataclass, field

from accelerate import Accelerator

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_training.directions import OF_PROFILES
from guerdon_training.policy.config import PolicyData, PolicyLora, PolicyOptim
from guerdon_training.problems import refuse_first

OTHER_METRICS = ("training", *OF_PROFILES)
"""Names in `manifest.metrics` beside that of the attribute."""


@dataclass(frozen=True, slots=True)
class RewardLoss:
    """Bradley-Terry with two options, both as in `guerdon train reward`.

    flip_rate: assumed share of wrong labels; 0.0 believes them all.
    centring: weight of the centring penalty; 0.01 is that of Eisenstein et al. (arXiv 2312.09244).
    """

    flip_rate: float = 0.0
    centring: float = 0.01


@dataclass(frozen=True, slots=True)
class RewardLmConfig:
    """Everything that `guerdon train reward-lm` reads; `policy.config.PolicyConfig` says what most keys mean.

    In `optim`, an example is a pair.

    max_tokens: what the served model accepts; the prompt is cut to it on the left, a response never.
    attribute: what the reward is called.
    """

    name: str
    version: str
    output: str
    base: str
    max_tokens: int
    seed: int
    data: PolicyData
    optim: PolicyOptim
    lora: PolicyLora = field(default_factory=PolicyLora)
    loss: RewardLoss = field(default_factory=RewardLoss)
    attribute: str = "preference"

    @property
    def save(self) -> str:
        """The service loads whole weights."""
        return "merged"


def check_config(config: RewardLmConfig) -> None:
    """Refuse values that no run could use.

    Raises:
        InvalidInput: the key is named.
    """
    problems = {
        "attribute must not be empty": not config.attribute,
        f"attribute must be none of {', '.join(OTHER_METRICS)}, by which metrics name other things": (
            config.attribute in OTHER_METRICS
        ),
        "loss.flip_rate must be in [0, 0.5)": not 0 <= config.loss.flip_rate < 0.5,
        "loss.centring must be at least 0": not config.loss.centring >= 0,
    }
    refuse_first(problems)


def check_precision(accelerator: Accelerator) -> None:
    """Refuse FSDP in half precision, which would round the scores too: margins of 3 in steps of 1/64.

    Raises:
        InvalidInput: it is asked for.
    """
    precision = accelerator.mixed_precision
    if accelerator.is_fsdp2 and precision != "no":
        raise InvalidInput(
            f"--mixed_precision is {precision}, which FSDP takes for the scores too; "
            "give no, or launch with DDP or DeepSpeed",
            param="accelerate",
        )


def served_form(config: RewardLmConfig) -> Manifest:
    """What the service is told of how to read a conversation, before anything is measured."""
    return Manifest(
        name=config.name,
        version=config.version,
        heads=(),
        profiles={},
        max_tokens=config.max_tokens,
        encoding="template",
        pooling="last",
    )
