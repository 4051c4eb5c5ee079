"""The parts of a config file that the policy recipes share."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from guerdon_training.problems import refuse_first

SCHEDULES = ("cosine", "linear", "constant")
SAVES = ("merged", "adapter")


@dataclass(frozen=True, slots=True)
class PolicyData:
    """Files of records, relative to the working folder. Choices are made on `valid` alone.

    sources: keep only these; empty keeps all.
    max_train, max_eval: records kept of the train file, and of each of the others, drawn with the seed;
        0 keeps all. Time on a CPU is what they are for.
    """

    train: str
    valid: str
    test: str
    sources: tuple[str, ...] = ()
    max_train: int = 0
    max_eval: int = 0

    @property
    def files(self) -> dict[str, str]:
        """File by split."""
        return {split: file for split, (file, _) in self.splits.items()}

    @property
    def splits(self) -> dict[str, tuple[str, int]]:
        """File and number of records (0 for all) by split."""
        return {
            "train": (self.train, self.max_train),
            "valid": (self.valid, self.max_eval),
            "test": (self.test, self.max_eval),
        }


@dataclass(frozen=True, slots=True)
class PolicyLora:
    """Low-rank adapters (Hu et al., arXiv 2106.09685). Rank 0, the default, trains every weight instead.

    last_layers: only that many of the upper layers get adapters, and the backward pass ends there; 0 is all.
    target_modules: all linear layers, as Dettmers et al. found necessary (arXiv 2305.14314, section 4).
        Each is a module's name or the end of one, such as ``self_attn.q_proj``.
    """

    rank: int = 0
    alpha: int = 32
    last_layers: int = 0
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


@dataclass(frozen=True, slots=True)
class PolicyOptim:
    """AdamW, warm-up, decay. `epochs` and `learning_rate` have no default: they hang on data and method.

    examples_per_step: examples (SFT) or pairs (DPO) behind one update, over all processes; 32 is that of
        Ouyang et al.'s SFT of models up to 6B (arXiv 2203.02155, appendix C.1), 64 that of DPO's paper.
    max_row_tokens: tokens that go through the model at once; it changes speed and memory, never the result.
        1024 is our choice.
    schedule: ``cosine`` or ``linear`` to zero, or ``constant``, after a linear warm-up; cosine is that of
        Ouyang et al., who end at a tenth.
    warmup_share: 0.05 is our choice; Ouyang et al. have none, and take far more steps.
    weight_decay: 0.0 is that of `transformers.TrainingArguments`.
    max_grad_norm: 1.0 is that of Brown et al. (arXiv 2005.14165, appendix B).
    num_threads: 2 is our choice, the cores of the machine that `make pipeline` is timed on.
    """

    epochs: int
    learning_rate: float
    examples_per_step: int = 32
    max_row_tokens: int = 1024
    schedule: str = "cosine"
    warmup_share: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    num_threads: int = 2


class PolicyConfig(Protocol):
    """What the config files of the policy recipes have in common."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Of the model, as it is registered."""
        ...

    @property
    def version(self) -> str:
        """Of the model."""
        ...

    @property
    def output(self) -> str:
        """Folder of the artifact."""
        ...

    @property
    def base(self) -> str:
        """A folder, or a package that carries GGUF (`policy.base.policy_base`)."""
        ...

    @property
    def max_tokens(self) -> int:
        """Of prompt and response together; `policy.encode.encode_example` says what is cut."""
        ...

    @property
    def seed(self) -> int:
        """Of the order, the adapters' start and whatever is drawn."""
        ...

    @property
    def data(self) -> PolicyData:
        """Files."""
        ...

    @property
    def optim(self) -> PolicyOptim:
        """Optimisation."""
        ...

    @property
    def lora(self) -> PolicyLora:
        """Adapters, or none."""
        ...

    @property
    def save(self) -> str:
        """``merged`` whole weights, or the ``adapter`` alone where the base is a package."""
        ...


def check_optim(optim: PolicyOptim) -> None:
    """Refuse values that no run could use.

    Raises:
        InvalidInput: the key is named.
    """
    problems = {
        "epochs must be at least 1": optim.epochs < 1,
        "learning_rate must be above 0": not optim.learning_rate > 0,
        "examples_per_step must be at least 1": optim.examples_per_step < 1,
        f"schedule must be one of {', '.join(SCHEDULES)}": optim.schedule not in SCHEDULES,
        "warmup_share must be in [0, 1)": not 0 <= optim.warmup_share < 1,
        "weight_decay must be at least 0": not optim.weight_decay >= 0,
        "max_row_tokens must be at least 1": optim.max_row_tokens < 1,
        "max_grad_norm must be above 0": not optim.max_grad_norm > 0,
        "num_threads must be at least 1": optim.num_threads < 1,
    }
    refuse_first(problems, "optim.")
