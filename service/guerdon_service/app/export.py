"""``guerdon export``: write ONNX graphs and int8 ranges that were compared with the model, or none."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from guerdon_service.app.artifact_copy import copy_artifact, home_of, seal
from guerdon_service.app.export_check import calibration_feeds, check_fp32, check_int8, check_torch_int8
from guerdon_service.app.export_graph import export_graph
from guerdon_service.app.export_int8 import export_int8
from guerdon_service.app.export_probes import read_probes
from guerdon_service.app.export_ranges import measure_ranges
from guerdon_service.artifacts.read import MANIFEST, read_artifact
from guerdon_service.artifacts.resolve import DEFAULT_MODEL
from guerdon_service.backends.int8 import takes_int8
from guerdon_service.backends.int8_ranges import write_ranges
from guerdon_service.backends.onnx_backend import FILES
from guerdon_service.backends.safe import read_config
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import from_json
from guerdon_service.core.whole_file import interrupted_later

FOLDERS = ("onnx", "torch")
"""What an export may write: graphs for onnxruntime, ranges for torch."""


def export_command(argv: Sequence[str]) -> int:
    """Write graphs, and ranges where torch takes int8, into the artifact or a copy of it; 0 when done.

    Raises:
        InvalidInput: the artifact cannot be read or exported, or what was written disagrees with it.
            Nothing is left behind then.
    """
    args = _parse(argv)
    artifact = read_artifact(args.model)
    if artifact.manifest.kind != "reward":
        raise InvalidInput(f"{args.model} is a {artifact.manifest.kind}; give a reward model", param="model")
    if args.output is None and artifact.folder == DEFAULT_MODEL:
        raise InvalidInput(
            "the model that ships with the service stays as it is; name a folder for a copy with --output",
            param="output",
        )
    home = artifact.folder if args.output is None else home_of(args.output, artifact)
    try:
        with tempfile.TemporaryDirectory(prefix=".guerdon-export-", dir=home) as staging:
            report = _export(artifact, args, Path(staging))
            with interrupted_later():
                _publish(artifact, Path(staging), args.output)
    except PermissionError as err:
        raise InvalidInput(
            f"{home.name} cannot be written to; name a folder for a copy with --output", param="output"
        ) from err
    told = {"folder": str(args.output or artifact.folder), "graphs": report}
    print(json.dumps(told) if args.json else "\n".join(report))  # noqa: T201 - the command's answer
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("guerdon export", description=__doc__)
    parser.add_argument("--model", required=True, help="artifact: a folder, a hub id or 'default'")
    parser.add_argument(
        "--dtype",
        choices=("fp32", "int8", "all"),
        default="all",
        help="what to write (all); int8: for both back ends",
    )
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, help="largest |difference| of an fp32 score (1e-4)"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="preference records (JSONL, .gz) for int8: 32 set its ranges, the others are compared",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write a copy of the artifact here")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


def _export(artifact: Artifact, args: argparse.Namespace, staging: Path) -> list[str]:
    """Write and compare what was asked for in `staging`; a line on each."""
    folder = staging / "onnx"
    folder.mkdir()
    probes = read_probes(artifact, args.calibration)
    staged = replace(artifact, folder=staging)
    in_torch = args.dtype != "fp32" and takes_int8(
        read_config(artifact.base_folder, len(artifact.manifest.heads))
    )
    num_steps = 2 + (args.dtype != "fp32") * 2 + in_torch
    with tqdm(total=num_steps, desc="export", unit="step", file=sys.stderr, disable=None) as bar:
        export_graph(artifact, folder / FILES["float32"])
        bar.update()
        report = [check_fp32(artifact, staged, probes, args.tolerance)]
        bar.update()
        if args.dtype != "fp32":
            feeds = calibration_feeds(staged, probes)
            export_int8(folder / FILES["float32"], folder / FILES["int8"], feeds)
            bar.update()
            report.append(check_int8(staged, probes))
            bar.update()
        if in_torch:
            # without a file there are few texts: random rows beside them leave less to be clipped
            seen = probes.calibration if args.calibration is not None else probes.rows
            write_ranges(artifact, staging, measure_ranges(artifact, seen))
            report.append(check_torch_int8(staged, probes))
            bar.update()
    if args.dtype == "int8":
        for file in folder.glob(f"{FILES['float32']}*"):
            file.unlink()
    return report


def _publish(artifact: Artifact, staging: Path, output: Path | None) -> None:
    """Move the files into the artifact, or a copy of it with them to its place, and seal the manifest."""
    written = [staging / name for name in FOLDERS if (staging / name).is_dir()]
    if output is None:
        for folder in written:
            (artifact.folder / folder.name).mkdir(exist_ok=True)
            for file in folder.iterdir():
                file.replace(artifact.folder / folder.name / file.name)
        _seal(artifact.folder)
        return
    copy = staging / output.name
    copy_artifact(artifact, copy, *FOLDERS)
    for folder in written:
        folder.rename(copy / folder.name)
    _seal(copy)
    copy.rename(output)


def _seal(folder: Path) -> None:
    """Let the manifest's digest, where there is one, cover what was written."""
    path = folder / MANIFEST
    if path.is_file():
        seal(folder, from_json(path.read_text(encoding="utf-8")))
