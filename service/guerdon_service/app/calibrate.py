"""``guerdon calibrate``: a copy of a model whose probabilities were fitted on held-out preferences."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from guerdon_service.app.artifact_copy import home_of
from guerdon_service.app.calibrated_copy import write_calibrated
from guerdon_service.app.calibration_of_pairs import Fitted, fit
from guerdon_service.app.calibration_scores import score_held_out
from guerdon_service.app.logs import configure_logging
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.lineage import lineages
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.statistics.calibration_fit import doubt
from guerdon_service.core.whole_file import interrupted_later
from guerdon_service.evaluation.read import data_sha256, read_items


def calibrate_command(argv: Sequence[str]) -> int:
    """Score, fit, and write a sealed copy; 0 when done.

    Raises:
        InvalidInput: the model or the pairs cannot be used. Nothing is left behind then.
    """
    args = _parse(argv)
    configure_logging("ERROR", json=False)
    items = list(read_items([args.data]))  # bad lines are found before the model is read
    artifact, digest = read_artifact(args.model), data_sha256([args.data])
    home = home_of(args.output, artifact)
    _check(artifact.manifest, args.data, digest)

    num_rows = sum(len(item.responses) for item in items)
    with tqdm(total=num_rows, desc="calibrate", unit="response", file=sys.stderr, disable=None) as bar:
        held_out = score_held_out(artifact, items, args.device, bar.update)
    fitted = fit(held_out, artifact.manifest)
    with tempfile.TemporaryDirectory(prefix=".guerdon-calibrate-", dir=home) as staging:
        copy = Path(staging) / args.output.name
        written = write_calibrated(copy, artifact, fitted, digest)
        with interrupted_later():
            copy.rename(args.output)
    told = _told(args.output, written, fitted, held_out.left_out)
    print(json.dumps(told) if args.json else _text(told, held_out.left_out))  # noqa: T201 - its answer
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("guerdon calibrate", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--model", required=True, help="artifact or plain Hugging Face folder, a hub id, or 'default'")
    add("--data", required=True, type=Path, metavar="FILE", help="preferences that training did not see")
    add("--output", required=True, type=Path, metavar="DIR", help="write the calibrated copy here")
    add("--device", default="cpu", help="cpu or cuda (cpu)")
    add("--json", action="store_true", help="print what was fitted as JSON")
    return parser.parse_args(argv)


def _check(manifest: Manifest, data: Path, digest: str) -> None:
    """Refuse a policy, and pairs that the model was trained on as far as its lineage tells."""
    if manifest.kind != "reward":
        raise InvalidInput(f"{manifest.name} is a {manifest.kind}; give a reward model", param="model")
    for by_split in lineages(manifest.parents):
        for name, sha256 in by_split.items():
            if sha256 == digest and name not in ("valid", "test"):
                raise InvalidInput(
                    f"data {data.name} is what {manifest.name} was trained on ({name}); give held-out pairs",
                    param="data",
                )


def _told(output: Path, new: Manifest, fitted: Fitted, left_out: Sequence[str]) -> dict[str, Any]:
    return {
        "folder": str(output),
        "name": new.name,
        "version": new.version,
        "digest": new.digest,
        "profile": new.profile(None)[0],
        "heads": {head.name: asdict(head.norm) for head in new.heads},
        **asdict(new.calibration),
        "num_prompts": fitted.num_prompts,
        "doubt": doubt(new.calibration),
        "num_left_out": len(left_out),
        "accuracy": fitted.accuracy,
        "ece_before": fitted.ece[0],
        "ece_after": fitted.ece[1],
        "knows_training_data": any(lineages(new.parents)),
    }


def _text(told: dict[str, Any], left_out: Sequence[str]) -> str:
    lines = [
        f"{told['folder']}: {told['name']} {told['version']}, digest {told['digest'][:12]}",
        f"pairs: {told['num_pairs']} of {told['num_prompts']} prompts, {told['accuracy']:.3f} ordered right",
        *(f"items left out: {len(left_out)}, the first because {reason}" for reason in left_out[:1]),
        *(f"head {n}: mean {v['mean']:.4g}, std {v['std']:.4g}" for n, v in told["heads"].items()),
        f"profile {told['profile']}: P(a preferred) = sigmoid({told['slope']:.4g} x margin), standard error "
        f"{told['slope_se']:.2g}",
        f"ECE: {told['ece_before']:.3f} before, {told['ece_after']:.3f} after on these very pairs; guerdon "
        "evaluate measures it on others",
    ]
    if told["doubt"]:
        lines.append(told["doubt"])
    if not told["knows_training_data"]:
        lines.append("the model names no training data: see to it yourself that it did not see these pairs")
    return "\n".join(lines)
