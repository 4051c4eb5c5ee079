"""Arrays of the host on the device that computes."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def placed(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on `device`. A GPU copies it from pinned memory while it computes, and the host goes on."""
    return _host(array, device).to(device, non_blocking=True)


def place_into(buffer: Tensor, array: NDArray[Any]) -> None:
    """Write the array over a buffer of its size, in the order of the device's own work."""
    buffer.copy_(_host(array, buffer.device), non_blocking=True)


def _host(array: NDArray[Any], device: torch.device) -> Tensor:
    """Pinned for a GPU. Its allocator gives the memory to nobody else before the copy is done."""
    host = torch.from_numpy(array)
    return host.pin_memory() if device.type == "cuda" else host
