"""Two versions of one reward model for the demo, made of the artifact that ships with the service."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guerdon.errors import GuerdonError

INCUMBENT, CANDIDATE = "1", "2"
"""Versions of `NAME`: the first judges by helpfulness alone, the second by harmlessness as well."""
NAME = "demo"


@dataclass(frozen=True, slots=True)
class Slope:
    """``P(a is preferred to b) = sigmoid(value * margin)``, fitted to `num_pairs` pairs."""

    value: float
    se: float
    num_pairs: int


def make_incumbent(folder: Path) -> None:
    """The default artifact, but a request that names no profile gets helpfulness alone."""
    _derive(folder, INCUMBENT, "helpfulness", None)


def make_candidate(folder: Path, slope: Slope | None) -> None:
    """The default artifact with its own default, both heads balanced; with `slope`, calibrated anew."""
    _derive(folder, CANDIDATE, "balanced", slope)


def fit_slope(margins: Sequence[float]) -> Slope | None:
    """Maximum likelihood of `margins` of preferred responses over others, by Newton's method.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999, without the intercept, which the two
    orders of a pair make zero. None where the model always prefers the better response, or the worse one,
    because then no slope is the likeliest.
    """
    if all(m > 0 for m in margins) or all(m < 0 for m in margins):
        return None
    slope = curvature = 0.0
    for _ in range(100):
        wrong = [1 / (1 + math.exp(slope * m)) for m in margins]
        gradient = sum(w * m for w, m in zip(wrong, margins, strict=True))
        curvature = sum(w * (1 - w) * m * m for w, m in zip(wrong, margins, strict=True))
        slope += gradient / curvature
        if abs(gradient) < 1e-9:
            break
    return Slope(slope, 1 / math.sqrt(curvature), len(margins))


def _derive(folder: Path, version: str, profile: str, slope: Slope | None) -> None:
    """Copy, and write the manifest anew; its blank digest is filled by whoever reads the artifact."""
    source = _default_artifact()
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("scores.jsonl", "*.md", "config.*"))
    manifest: dict[str, Any] = json.loads((source / "manifest.json").read_text("utf-8"))
    profiles = manifest["profiles"]
    manifest["profiles"] = {profile: profiles.pop(profile)} | profiles  # the first one is the default
    manifest["parents"]["derived_from"] = manifest["digest"]
    manifest |= {"name": NAME, "version": version, "digest": ""}
    if slope is not None:
        manifest["calibration"] = {
            "slope": slope.value,
            "slope_se": slope.se,
            "num_pairs": slope.num_pairs,
        }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _default_artifact() -> Path:
    spec = find_spec("guerdon_service")
    if spec is None or spec.origin is None:
        raise GuerdonError("guerdon demo needs the service; install it with pip install 'guerdon[serve]'")
    return Path(spec.origin).parent / "models" / "default"
