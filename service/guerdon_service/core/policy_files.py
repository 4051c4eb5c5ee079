"""Where the parts of a policy lie on this machine."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """A policy that was found and checked.

    weights: a folder with `config.json`, safetensors and tokenizer, or a package's GGUF file.
    adapter: a PEFT adapter of those weights, or None.
    digest: SHA-256 (hex) over all of it, as `core.fingerprint.artifact_digest` says.
    """

    weights: Path
    adapter: Path | None
    digest: str
