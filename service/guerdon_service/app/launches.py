"""From a `ModelSpec` with devices to the engine processes that it asks for."""

import os
import sys
from collections.abc import Mapping

from guerdon_service.backends.process.engine_process import Launch
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput

COMMAND = (sys.executable, "-P", "-m", "guerdon_service.app.engine_process")
"""``-P``: what lies in the working directory is no module of ours."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


def launches(spec: ModelSpec, digest: str, num_threads: int | None) -> tuple[Launch, ...]:
    """One launch for each of `spec.devices`; each process sees its own device alone.

    Args:
        digest: what the artifact that they load must have.
        num_threads: of one forward; None shares the cores among several processes on the CPU.

    Raises:
        InvalidInput: this process does not see such a device.
    """
    num_on_cpu = spec.devices.count("cpu")
    if num_threads is None and num_on_cpu > 1:
        num_threads = max(1, (os.cpu_count() or 1) // num_on_cpu)
    return tuple(
        Launch(
            COMMAND,
            {
                "name": spec.name,
                "source": spec.source,
                "backend": spec.backend,
                "dtype": spec.dtype,
                "device": device.partition(":")[0],
                "digest": digest,
                "num_threads": num_threads,
            },
            device,
            visible(device, os.environ),
        )
        for device in spec.devices
    )


def visible(device: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables under which a process sees `device` alone, out of those that this one sees."""
    kind, _, number = device.partition(":")
    if kind == "cpu" or not number:
        return {}
    if VISIBLE not in environ:
        return {VISIBLE: number}
    seen = [name.strip() for name in environ[VISIBLE].split(",") if name.strip()]
    if int(number) >= len(seen):
        raise InvalidInput(
            f"device {device} is not among the {len(seen)} that {VISIBLE} shows; name fewer", param="devices"
        )
    return {VISIBLE: seen[int(number)]}
