"""An artifact goes wrong before it is loaded: it is refused, and what is loaded goes on."""

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from tests.faults.fault import Fault
from tests.faults.load import Tally
from tests.faults.scene import MODEL, scene

WEIGHTS = "model.safetensors"


async def _refused(damage: Callable[[Path], None], phase: int) -> Tally:
    # torch takes seconds to import: the other faults do without it.
    from guerdon_service.app.loader import load_model
    from guerdon_service.artifacts.read import read_artifact
    from tests.tiny import tiny

    with TemporaryDirectory() as holder:
        folder = shutil.copytree(tiny("bert"), Path(holder) / "artifact")
        registered = read_artifact(str(folder), MODEL).manifest
        damage(folder / WEIGHTS)
        async with scene(load=partial(load_model, num_threads=1)) as it:
            await it.load.more(phase)
            spec = ModelSpec(MODEL, str(folder))
            loading = asyncio.create_task(
                it.catalog.load_version(spec, registered.version, registered.digest)
            )
            await it.load.more(phase)
            (outcome,) = await asyncio.gather(loading, return_exceptions=True)
            assert isinstance(outcome, InvalidInput), f"a damaged artifact gave {outcome!r}"
            assert not it.catalog.is_loaded(MODEL, registered.version)
            return it.load.tally


def _truncate(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _corrupt(weights: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-100] ^= 0x40  # one bit of one weight
    weights.write_bytes(data)


def _swap(weights: Path) -> None:
    from tests.tiny import tiny

    shutil.copyfile(tiny("bert", seed=1) / WEIGHTS, weights)


FAULTS = (
    Fault("model truncated", "half of the weights' file", partial(_refused, _truncate)),
    Fault("model corrupted", "one bit of one registered weight", partial(_refused, _corrupt)),
    Fault("model swapped", "another model's weights in a registered folder", partial(_refused, _swap)),
)
