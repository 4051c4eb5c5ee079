"""Whether this CPU multiplies bf16 itself."""

import functools
import platform

import torch


@functools.cache
def has_native_bf16() -> bool:
    """False where products of bf16 are done in fp32, with conversions before and after.

    oneDNN says that it takes bf16 on every CPU with AVX-512. On one without AVX512-BF16 attention
    by two such products took two to three times as long as the fused kernel of an encoder.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
