"""Whether this CPU multiplies bf16 itself, and what is computed in where it does not."""

import functools
import platform

import torch

from guerdon_service.backends.native.library import tiles


@functools.cache
def has_native_bf16() -> bool:
    """False where products of bf16 are done in fp32, with conversions before and after.

    oneDNN says that it takes bf16 on every CPU with AVX-512. On one without AVX512-BF16 attention
    by two such products took two to three times as long as the fused kernel of an encoder. On AMX its sums
    depend on the numbers of rows and threads, so that only kernels of our own take bf16 there.
    """
    if torch.cpu._is_amx_tile_supported() and tiles() is None:
        return False
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported()
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def computed_in(dtype: torch.dtype, device: str) -> torch.dtype:
    """What a model with weights of `dtype` computes in: fp32 on a CPU that would only imitate a narrow one.

    The weights keep the values that `dtype` gave them. Imitated, an encoder's forward took three times as
    long, and rounded more often.
    """
    is_native = dtype == torch.bfloat16 and has_native_bf16()
    return dtype if device != "cpu" or is_native else torch.float32
