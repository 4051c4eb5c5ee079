"""An artifact that was found and checked, and a model made from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guerdon_service.core.certificate import UNCHECKED, Certificate, Check
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import ScorerIdentity
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.ports import Backend, Encoder, arithmetic_of

BACKENDS = ("torch", "onnxruntime")
"""What may run a model."""


def check_backend(name: str) -> None:
    """Refuse a back end that there is not.

    Raises:
        InvalidInput: `name` is none of `BACKENDS`.
    """
    if name not in BACKENDS:
        raise InvalidInput(f"backend is {name!r}; use one of {', '.join(BACKENDS)}", param="backend")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What an operator asks to be served.

    source: a folder, or a Hugging Face hub id (``org/name`` or ``org/name@revision``).
    backend: one of `BACKENDS`.
    dtype: ``float32``, ``bfloat16``, ``float16`` or ``int8``.
    device: ``cpu`` or ``cuda``.
    devices: given, an engine process on each of these (``cpu``, ``cuda:0``), and no thread on `device`.
    members: names of loaded models; given, the model is their ensemble and `source` is empty.
    conservatism: k of an ensemble's mean - k * std.
    """

    name: str
    source: str
    backend: str = "torch"
    dtype: str = "float32"
    device: str = "cpu"
    devices: tuple[str, ...] = field(default=(), kw_only=True)
    members: tuple[str, ...] = ()
    conservatism: float = 0.0

    @property
    def first_device(self) -> str:
        """Where it runs; of several devices, which are alike, the first."""
        return self.devices[0] if self.devices else self.device


@dataclass(frozen=True, slots=True)
class Artifact:
    """Folders of one artifact; `manifest.digest` is filled.

    folder: holds the manifest, `golden.jsonl`, `onnx/`, and the tokenizer unless it is the base's.
    base_folder: holds `config.json`, weights and tokenizer; equals `folder` unless `manifest.base`.
    adapter_folder: PEFT adapter with its own head, or None.
    sha256: of every file that counts, in hex, by its path; as it was when the artifact was read.
    """

    folder: Path
    base_folder: Path
    adapter_folder: Path | None
    manifest: Manifest
    sha256: Mapping[Path, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Everything needed to score with one model."""

    spec: ModelSpec
    manifest: Manifest
    encoder: Encoder
    backend: Backend
    certificate: Certificate = UNCHECKED

    @property
    def identity(self) -> ScorerIdentity:
        """What its raw scores depend on besides the tokens."""
        backend = self.backend
        return ScorerIdentity(
            self.manifest.digest, backend.name, backend.dtype, arithmetic=arithmetic_of(backend)
        )


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `GET /v1/models` tells of one version. `state` is ``loading``, ``ready`` or ``failed``."""

    name: str
    version: str
    digest: str
    backend: str
    dtype: str
    heads: tuple[str, ...]
    profiles: tuple[str, ...]
    max_tokens: int
    state: str
    default: bool
    inferred: tuple[str, ...]
    certificate: tuple[Check, ...] = ()
    aliases: tuple[str, ...] = ()
