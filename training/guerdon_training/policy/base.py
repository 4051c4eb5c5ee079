"""Where a policy's weights begin: a folder, or an installed package that carries them as GGUF."""

import hashlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.weights_package import install_command
from guerdon_service.core.whole_file import check_whole
from guerdon_training.data import file_sha256


def policy_base(source: str) -> Path:
    """Folder with `config.json`, fp32 safetensors and a tokenizer with its chat template.

    A package's GGUF is dequantised once per machine, into the user's cache (``XDG_CACHE_HOME``); the folder
    is named by the GGUF's SHA-256, so another version of the package never finds it.

    Args:
        source: path of a folder, or import name of a package that holds one GGUF file.

    Raises:
        InvalidInput: neither; or a folder without whole weights, e.g. with an adapter alone.
    """
    folder = Path(source)
    if folder.is_dir():
        check_whole(folder)
        if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
            raise InvalidInput(
                f"base {source} lacks config.json or *.safetensors; give a folder with whole weights (a run "
                'with save = "merged" writes one)',
                param="base",
            )
        return folder
    gguf = package_gguf(source)
    target = _cache() / f"{source}-{file_sha256(gguf)[:16]}"
    if not (target / "config.json").is_file():
        _convert(gguf, target)
    return target


def package_gguf(package: str) -> Path:
    """The one GGUF file that an installed package carries.

    Raises:
        InvalidInput: no such package, or not exactly one such file in it.
    """
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        install = f", or run {install_command(package)}" if package.isidentifier() else ""
        raise InvalidInput(
            f"base {package} is neither a folder nor an installed package; give a path{install}", param="base"
        )
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(found) != 1:
        raise InvalidInput(
            f"package {package} carries {len(found)} GGUF files; give one that carries exactly 1",
            param="base",
        )
    return found[0]


def weights_sha256(folder: Path) -> str:
    """SHA-256 (hex) over all weight files of a folder, in the order of their names."""
    digests = (f"{p.name}:{file_sha256(p)}\n" for p in sorted(folder.glob("*.safetensors")))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "guerdon" / "policies"


def _convert(gguf: Path, target: Path) -> None:
    """Write `target` whole or not at all; of two processes that convert at once one wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # transformers takes what it read from GGUF for a quantised model, and will neither save nor train
        # it; the weights are plain fp32 by now, so a fresh model of the same shape takes them over
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
