"""A package's GGUF as a plain folder: dequantised once per machine.

`guerdon_training.policy.base` keeps the same folders in the same place; the two never import each other.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.core.one_load import ONE_LOAD


def dequantised(gguf: Path) -> Path:
    """Folder with `config.json`, fp32 safetensors and tokenizer, in the user's cache (``XDG_CACHE_HOME``).

    It is named by the GGUF's SHA-256, so another version of the package never finds it.
    """
    with gguf.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = root / "guerdon" / "policies" / f"{gguf.parent.name}-{sha256[:16]}"
    with ONE_LOAD:
        if not (target / "config.json").is_file():
            _convert(gguf, target)
    return target


def _convert(gguf: Path, target: Path) -> None:
    """Write `target` whole or not at all; of two processes that convert at once one wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # transformers takes what it read from GGUF for a quantised model and will not save it; the weights
        # are plain fp32 by now, so a fresh model of the same shape takes them over
        config = loaded.config
        del config.quantization_config
        model = AutoModelForCausalLM.from_config(config)
        model.load_state_dict(loaded.state_dict())
        model.save_pretrained(scratch)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(scratch)
        if not (target / "config.json").is_file():
            scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
