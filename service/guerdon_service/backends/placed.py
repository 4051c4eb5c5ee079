"""Arrays of the host on the device that computes."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def placed(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on `device`. A GPU copies it from pinned memory while it computes, and the host goes on."""
    host = torch.from_numpy(array)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)
