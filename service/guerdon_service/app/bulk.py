"""``guerdon score --engine local|ray``: score files by the engine in process, on one machine or a cluster."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

from guerdon_service.app.logs import configure_logging
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.artifacts.resolve import DEFAULT_MODEL, DEFAULT_NAME, is_default
from guerdon_service.bulk.engine import Engine
from guerdon_service.bulk.inputs import expand, scan
from guerdon_service.bulk.local import LocalEngine
from guerdon_service.bulk.plan import Plan, PlannedModel, make_plan
from guerdon_service.bulk.run import Summary, run_plan
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.limits import Limits
from guerdon_service.core.model_name import name_from
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.scorer import Scorer

SLICE_ROWS = 2048
"""Rows that a kill can cost each worker, against files that are too many."""


def bulk_command(argv: Sequence[str]) -> int:
    """Plan, score and tell; 1 when some rows became errors.

    Raises:
        GuerdonError: an input, the model or the output is not as it should be.
    """
    args = _parser().parse_args(argv)
    configure_logging("ERROR", json=False)
    settings = _settings(args)
    plan = _plan(args, settings)
    with tqdm(total=plan.num_rows, desc="score", unit="row", file=sys.stderr, disable=None) as bar:
        summary = run_plan(plan, args.output, _engine(args), partial(open_scorer, settings), bar.update)
    sys.stdout.write(json.dumps(asdict(summary)) + "\n" if args.json else _text(summary))
    return 1 if summary.num_errors else 0


async def open_scorer(settings: Settings) -> Scorer:
    """The domain layer with the model that the settings name; each worker process calls this once."""
    from guerdon_service.app.build import build_scorer, load_models

    configure_logging("ERROR", json=False)
    scorer = build_scorer(settings, NullObserver())
    await load_models(scorer, settings)
    return scorer


def _plan(args: argparse.Namespace, settings: Settings) -> Plan:
    model = _planned(settings.specs[0], args.profile)
    urls = expand(args.file)
    with tqdm(desc="read", unit="row", file=sys.stderr, disable=None) as bar:
        return make_plan(model, [scan(url, args.slice_rows, bar.update) for url in urls], args.slice_rows)


def _planned(spec: ModelSpec, profile: str | None) -> PlannedModel:
    from guerdon_service.artifacts.read import read_artifact

    manifest = read_artifact(spec.source, spec.name).manifest
    name, _ = manifest.profile(profile)
    return PlannedModel(
        spec.name, manifest.version, manifest.digest, name, spec.backend, spec.dtype, spec.device
    )


def _settings(args: argparse.Namespace) -> Settings:
    """One model, under the last part of its path; the default model under its name."""
    name, source = DEFAULT_NAME, str(DEFAULT_MODEL)
    if not is_default(args.model):
        source = str(Path(args.model).resolve()) if Path(args.model).is_dir() else args.model
        name = name_from(Path(source).name)
    threads = args.threads
    if threads is None and args.engine == "local" and args.workers > 1:
        threads = max(1, (os.cpu_count() or 1) // args.workers)
    settings = Settings(
        models={name: ModelSettings(source=source)},
        cache_bytes=0,
        backend=args.backend,
        dtype=args.dtype,
        device=args.device,
        threads=threads,
    )
    # Plain limits: those that settings check cannot be pickled, and these go to other processes.
    given = args.max_batch_tokens
    limits = Limits(max_batch_tokens=given, max_batch_tokens_cuda=given) if given else Limits()
    return settings.model_copy(update={"limits": limits})


def _engine(args: argparse.Namespace) -> Engine:
    if args.engine == "local":
        return LocalEngine(args.workers)
    from guerdon_service.bulk.ray_engine import RayEngine  # an extra, and slow to import

    return RayEngine(args.workers, args.gpus_per_worker, args.ray_address)


def _text(summary: Summary) -> str:
    resumed = f" ({summary.resumed_rows} of them by an earlier run)" if summary.resumed_rows else ""
    errors = f"; {summary.num_errors} of them became errors" if summary.num_errors else ""
    return (
        f"{summary.num_rows} rows of {summary.num_files} file(s) scored{resumed}{errors}\n"
        f"model {summary.model['name']} {summary.model['version']} ({summary.model['digest'][:12]})\n"
        f"{summary.num_slices} part file(s) in {summary.output}\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guerdon score", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    files = "path, glob or fsspec URL of JSON Lines (.jsonl, .ndjson, .json; with .gz) or Parquet"
    add("file", nargs="+", metavar="FILE", help=files)
    add("--engine", required=True, choices=("local", "ray"), help="this machine, or Ray Data")
    add("--output", required=True, metavar="OUT", help="folder or fsspec URL to write, and to continue")
    model = "an artifact's folder, a hub id, or 'default', the embedded model (default)"
    add("--model", default="default", metavar="NAME|PATH", help=model)
    add("--profile", metavar="NAME", help="head weights (the model's default)")
    add("--workers", type=_positive, default=1, metavar="N", help="processes or actors, a model in each (1)")
    add("--slice-rows", type=_positive, default=SLICE_ROWS, metavar="N", help="rows of a part (%(default)s)")
    add("--gpus-per-worker", type=float, default=0.0, metavar="F", help="of a Ray actor, with --device cuda")
    add("--ray-address", metavar="ADDRESS", help="of a running Ray cluster (starts one on this machine)")
    add("--backend", default="torch", help="torch or onnxruntime (torch)")
    add("--dtype", default="float32", help="float32, bfloat16, float16 or int8 (float32)")
    add("--device", default="cpu", help="cpu or cuda (cpu)")
    add("--threads", type=_positive, metavar="N", help="threads of one forward (the cores by workers)")
    tokens = (
        f"token budget of one batch ({Limits().max_batch_tokens}; {Limits().max_batch_tokens_cuda} on CUDA)"
    )
    add("--max-batch-tokens", type=_positive, metavar="N", help=tokens)
    add("--json", action="store_true", help="print the summary as JSON")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value
