"""What a finished stage was made from and what it left, so that a rerun knows whether to skip it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STAMP = ".stamp.json"
"""Hidden, so that no artifact's digest covers it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """config: of the stage, resolved. inputs, outputs: SHA-256 (hex) of files by path.

    seconds: wall time of the run that finished it. peak_rss_mib: of the process until then.
    """

    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    seconds: float = 0.0
    peak_rss_mib: int = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of config and inputs."""
        made_from = {"config": self.config, "inputs": self.inputs}
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def read_stamp(folder: Path) -> Stamp | None:
    """The stamp of a finished stage; None where it is not finished."""
    path = folder / STAMP
    if not path.is_file():
        return None
    stored = json.loads(path.read_text("utf-8"))
    del stored["fingerprint"]
    return Stamp(**stored)


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Write it whole or not at all."""
    scratch = folder / f"{STAMP}.new"
    scratch.write_text(
        json.dumps({"fingerprint": stamp.fingerprint, **asdict(stamp)}, indent=1) + "\n", "utf-8"
    )
    scratch.replace(folder / STAMP)


def changes(before: Stamp, now: Stamp) -> list[str]:
    """What differs between two stamps of one stage, one phrase each."""
    old, new = _flat(before.config), _flat(now.config)
    found = [
        f"{key} was {old.get(key, 'not given')!r}, is {new.get(key, 'not given')!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    files = sorted(before.inputs.keys() | now.inputs.keys())
    found += [f"{f} changed" for f in files if before.inputs.get(f) != now.inputs.get(f)]
    found += [f"{f} changed" for f in sorted(before.outputs) if before.outputs[f] != now.outputs.get(f)]
    return found


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return {key: v for part in parts for key, v in part.items()}
    return {prefix: value}
