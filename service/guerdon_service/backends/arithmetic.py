"""What forwards are computed by: by another processor or version, the last bits of a score may differ."""

import functools
import hashlib
import platform

import torch
import transformers

from guerdon_service.backends.native.library import LIBRARY, tiles
from guerdon_service.backends.native_bf16 import has_native_bf16


def torch_arithmetic(device: torch.device, num_threads: int | None = None) -> str:
    """Of a model of `transformers` on `device`.

    Args:
        num_threads: of an operation, where bits depend on it.
    """
    parts = [f"torch {torch.__version__}", f"transformers {transformers.__version__}"]
    parts.append(cuda_device(device) if device.type == "cuda" else instruction_sets())
    if num_threads is not None:
        parts.append(f"{num_threads} threads")
    return ", ".join(parts)


def cuda_device(device: torch.device | None = None) -> str:
    """Name and compute capability of a CUDA device; None is the current one."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} sm_{major}{minor}"


def instruction_sets() -> str:
    """Those of this CPU that choose kernels."""
    has = {
        "vnni": torch.cpu._is_vnni_supported(),
        "bf16": has_native_bf16(),
    }
    sets = [name for name, there in has.items() if there]
    if tiles() is not None:
        sets.append(f"tiles {_kernels()}")
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *sets])


@functools.cache
def _kernels() -> str:
    """Which kernels the library holds: the same sources give the same bytes."""
    return hashlib.sha256(LIBRARY.read_bytes()).hexdigest()[:8]
