"""A TOML file as frozen dataclasses; unknown keys are refused with the nearest known name."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from guerdon_service.core.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """Encoder weights that an installed package carries: import name, and the folder inside it."""

    package: str
    subfolder: str


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
    """

    source: str
    licence: str
    subsets: tuple[str, ...] = ()
    excluded: str = ""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """One output of the model and the sources that train it."""

    name: str
    sources: tuple[SourceConfig, ...]


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters (Hu et al., arXiv 2106.09685) on `target_modules`; `save_modules` train in full.

    layers: consecutive encoder layers up to the last that get adapters. All below stay as they are, so
        they run once per text instead of once per epoch.
    """

    rank: int
    alpha: int
    layers: tuple[int, ...]
    target_modules: tuple[str, ...] = ("query", "key", "value", "dense")
    save_modules: tuple[str, ...] = ("classifier", "pooler")


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """AdamW with linear warm-up and decay, and an exponential moving average of the weights.

    pairs_per_step: preference pairs behind one update; the padded batches within it are an
        implementation detail (`max_batch_tokens`).
    flip_rate: assumed share of wrong labels; single-vote crowd labels agree about 63 to 73 % of the time.
    centring: weight of the centring penalty; 0.01 is the source's value.
    ema_decay: per step.
    """

    epochs: int
    learning_rate: float
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
    limits: tuple[str, ...] = field(default=())
    """Sentences for the model card: what this model must not be used for."""


def read_config(path: Path, kind: type[T]) -> T:
    """Parse `path` into the dataclass `kind`.

    Raises:
        InvalidInput: the file is missing or not TOML; a key is unknown, missing or of the wrong type.
    """
    if not path.is_file():
        raise InvalidInput(f"config {path} does not exist; give the path of a TOML file", param="config")
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InvalidInput(f"config {path} is not TOML: {err}", param="config") from None
    built: T = _build(kind, data, "")
    return built


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a dataclass, a tuple, a mapping or a plain type."""
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {k: _build(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin in (tuple, Mapping, UnionType) or type(value) is not kind:
        wanted = getattr(origin or kind, "__name__", str(kind))
        raise InvalidInput(f"config {where} must be a {wanted}, not {value!r}", param=where)
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidInput(f"config {where} must be a table, not {value!r}", param=where)
    known = {f.name: f for f in fields(kind)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise InvalidInput(f"config {prefix}{key} is unknown; did you mean {near}?", param=prefix + key)
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise InvalidInput(f"config {prefix}{name} is missing; add it", param=prefix + name)
    hints = get_type_hints(kind)
    return kind(**{k: _build(hints[k], v, prefix + k) for k, v in value.items()})
