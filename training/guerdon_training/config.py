"""What `guerdon train reward` reads; defaults with their sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from guerdon_training.objective_config import EnsembleConfig, LengthConfig, ObjectiveConfig


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """Encoder weights that an installed package carries: import name, and the folder inside it.

    num_layers: layers that are kept, from the first; 0 is all of them.
    """

    package: str
    subfolder: str
    num_layers: int = 0


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Files of preference pairs, relative to the working folder. Choices are made on `valid` alone."""

    train: str
    valid: str
    test: str


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source that a head learns from. `subsets` keeps only those; empty keeps all of it.

    `licence` is the text that the model card prints; `excluded` says why some subsets are left out.
    `crossed`: annotation file of the source's completions that train the head too, see `crossed`.
    """

    source: str
    licence: str
    subsets: tuple[str, ...] = ()
    excluded: str = ""
    crossed: str = ""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """One output of the model and the sources that train it."""

    name: str
    sources: tuple[SourceConfig, ...]


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters (Hu et al., arXiv 2106.09685) on `target_modules`; `save_modules` train in full.

    layers: consecutive encoder layers up to the last that get adapters. All below stay as they are, so
        they run once per text instead of once per epoch. None: only `save_modules` train.
    """

    rank: int = 16
    alpha: int = 32
    layers: tuple[int, ...] = ()
    target_modules: tuple[str, ...] = ("query", "key", "value", "dense")
    save_modules: tuple[str, ...] = ("classifier", "pooler")


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """AdamW with linear warm-up and decay, and an exponential moving average of the weights.

    epochs: 1 is that of Ouyang et al. (arXiv 2203.02155, appendix C.2): more overfitted.
    learning_rate: 1e-4 is the default of TRL's RewardConfig.
    l2: above 0, the heads of a frozen trunk are fitted at their optimum with this penalty, see `convex`; what
        is about steps is not used then. 0.0: off.
    pairs_per_step: preference pairs behind one update; the padded batches within it are an
        implementation detail (`max_batch_tokens`). 64 is the batch of Ouyang et al., of prompts there.
    weight_decay: 0.01 is that of BERT (Devlin et al., arXiv 1810.04805, appendix A.2) and of PyTorch's AdamW.
    warmup_share: 0.06 is that of RoBERTa's fine-tuning (Liu et al., arXiv 1907.11692, table 10).
    max_grad_norm: 1.0 is that of BERT's code and of `transformers.TrainingArguments`.
    flip_rate: assumed share of wrong labels; single-vote crowd labels agree about 63 to 73 % of the time.
        0.0 believes them all; the data audit estimates it.
    centring: weight of the centring penalty; 0.01 is that of Eisenstein et al. (arXiv 2312.09244).
    ema_decay: per step (Polyak and Juditsky, 1992); 0.98 is our choice: it remembers some 50 steps.
    max_batch_tokens, num_threads: speed and memory only; ours, for two cores and a short encoder.
    """

    epochs: int = 1
    learning_rate: float = 1e-4
    l2: float = 0.0
    pairs_per_step: int = 64
    weight_decay: float = 0.01
    warmup_share: float = 0.06
    max_grad_norm: float = 1.0
    flip_rate: float = 0.0
    centring: float = 0.01
    ema_decay: float = 0.98
    max_batch_tokens: int = 6144
    num_threads: int = 2


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """Everything that `guerdon train reward` reads.

    output: folder of the artifact. max_tokens: what the served model accepts.
    pooling: what the head reads, ``model`` or ``response``: see `core.manifest.Manifest`.
    profiles: attribute weights by profile name; the first by name is the served default.
    """

    name: str
    version: str
    output: str
    max_tokens: int
    seed: int
    base: BaseConfig
    data: DataConfig
    heads: tuple[HeadConfig, ...]
    profiles: Mapping[str, Mapping[str, float]]
    lora: LoraConfig
    optim: OptimConfig
    pooling: str = "model"
    limits: tuple[str, ...] = field(default=())
    """Sentences for the model card: what this model must not be used for."""
    notes: tuple[str, ...] = field(default=())
    """Sentences for the model card: what its figures don't say about how it was chosen."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    length: LengthConfig = field(default_factory=LengthConfig)
