"""A model's head in fp32 for all rows of a batch at once, where there are kernels."""

import ctypes

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from guerdon_service.backends.families import family_of
from guerdon_service.backends.native.library import has_tiles, library

_MULTIPLE = 32
"""Of rows' columns: torch computes what is left over of an activation otherwise than whole vectors."""


class RowLinear(nn.Module):
    """What `linear`, in fp32, computes; a row's bits depend on no other row, nor on their number."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias  # by which a model tells its device

    def forward(self, rows: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        given = rows.contiguous()
        assert given.dtype == self.weight.dtype == torch.float32 and self.weight.is_contiguous()
        outputs, inputs = self.weight.shape
        out = given.new_empty(*given.shape[:-1], outputs)
        tensors = (given, self.weight, self.bias, out)
        addresses = (ctypes.c_void_p(None if x is None else x.data_ptr()) for x in tensors)
        sizes = map(ctypes.c_int64, (given.numel() // inputs, inputs, outputs))
        library().guerdon_linear(*addresses, *sizes)
        return out


def take_head(model: PreTrainedModel) -> None:
    """Put `RowLinear` in the places of the head's linear layers, where there are kernels for its size."""
    if not has_tiles() or model.config.hidden_size % _MULTIPLE:
        return
    for path in family_of(model.config).head_modules:
        for name, module in list(model.get_submodule(path).named_modules(prefix=path)):
            if isinstance(module, nn.Linear):
                model.set_submodule(name, RowLinear(module))


def is_head_taken(model: PreTrainedModel) -> bool:
    """Whether the head gives each row its own bits beside any others."""
    paths = family_of(model.config).head_modules
    kinds = {type(module) for path in paths for module in model.get_submodule(path).modules()}
    return RowLinear in kinds and nn.Linear not in kinds
