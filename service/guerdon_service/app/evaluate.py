"""``guerdon evaluate``: measure a model on held-out preferences, and against another one."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from guerdon_service.app.logs import configure_logging
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.artifacts.resolve import DEFAULT_NAME, is_default
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.model_name import name_from
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.whole_file import write_whole
from guerdon_service.evaluation.build_report import Contender, Data, build_report
from guerdon_service.evaluation.compare import check_margin
from guerdon_service.evaluation.html import report_html
from guerdon_service.evaluation.kept import kept_json, read_kept
from guerdon_service.evaluation.markdown import report_markdown
from guerdon_service.evaluation.plain import report_plain
from guerdon_service.evaluation.read import data_sha256, read_items
from guerdon_service.evaluation.report import to_json
from guerdon_service.evaluation.rewardbench_json import rewardbench_json
from guerdon_service.evaluation.robustness import check_robustness, probes
from guerdon_service.evaluation.run import check_different, score_files
from guerdon_service.evaluation.score import Asked

STDOUT = Path("-")
"""Of --json without a file."""


def evaluate_command(argv: Sequence[str]) -> int:
    """Score, measure, compare, print and write; 0 whatever the verdict.

    Raises:
        GuerdonError: a model or a file is not as it should be.
    """
    args = _parser().parse_args(argv)
    configure_logging("ERROR", json=False)
    for path in (args.json, args.report, args.markdown, args.rewardbench):
        if path is not None and not path.parent.is_dir():
            raise InvalidInput(f"{path}: its folder does not exist; make it first", param="output")
    check_margin(args.margin)
    check_robustness(args.robustness)
    files = tuple(args.data)
    data = Data(files, data_sha256(files))
    num_items = sum(1 for _ in read_items(files))  # bad lines are found before any model is loaded
    num_items += sum(1 for _ in probes(files, args.robustness))
    contenders = asyncio.run(_contenders(args, data, num_items))
    candidate, baseline = contenders[0], contenders[1] if len(contenders) > 1 else None
    if baseline is not None:
        check_different(candidate, baseline)
    report = to_json(build_report(data, candidate, baseline, args.margin))
    if args.json == STDOUT:
        sys.stdout.write(json.dumps(kept_json(report, candidate, baseline)) + "\n")
    else:
        sys.stdout.write(report_plain(report))
    _write(args, report, candidate, baseline)
    return 0


async def _contenders(args: argparse.Namespace, data: Data, num_items: int) -> list[Contender]:
    """Load and score one model after the other: two need not fit into memory together."""
    sources = [source for source in (args.model, args.against) if source is not None]
    return [
        read_kept(Path(source), data)
        if source.endswith(".json")
        else await _scored(source, args, data, num_items)
        for source in sources
    ]


async def _scored(source: str, args: argparse.Namespace, data: Data, num_items: int) -> Contender:
    # torch takes seconds to import: a wrong flag and --help are answered without it.
    from guerdon_service.app.build import build_scorer, load_models

    name, settings = _settings(source, args)
    scorer = build_scorer(settings, NullObserver())
    try:
        sys.stderr.write(f"loading {name} ...\n")
        await load_models(scorer, settings)
        with tqdm(total=num_items, desc=name, unit="item", file=sys.stderr, disable=None) as bar:
            return await score_files(
                scorer,
                Asked(name, args.profile),
                data.files,
                robustness=args.robustness,
                progress=bar.update,
            )
    finally:
        await scorer.close()


def _settings(source: str, args: argparse.Namespace) -> tuple[str, Settings]:
    """One model, under the last part of its path; the default model under its name."""
    name = DEFAULT_NAME if is_default(source) else name_from(Path(os.path.normpath(source)).name)
    how = {"backend": args.backend, "dtype": args.dtype, "device": args.device, "threads": args.threads}
    return name, Settings(models={name: ModelSettings(source=source)}, cache_bytes=0, **how)


def _write(args: argparse.Namespace, report: Any, candidate: Contender, baseline: Contender | None) -> None:
    outputs = {
        args.json: lambda: json.dumps(kept_json(report, candidate, baseline)) + "\n",
        args.report: lambda: report_html(report),
        args.markdown: lambda: report_markdown(report),
        args.rewardbench: lambda: json.dumps(rewardbench_json(report), indent=4, sort_keys=True) + "\n",
    }
    for path, make in outputs.items():
        if path not in (None, STDOUT):
            write_whole(path, make())
            sys.stderr.write(f"wrote {path}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guerdon evaluate",
        description=__doc__,
        epilog="With --url a running service evaluates what it serves: `guerdon evaluate --url URL --help`.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    model = "an artifact's folder, a hub id, 'default' (the embedded model), or what --json wrote for one"
    add("--model", required=True, metavar="NAME|PATH", help=model)
    add("--against", metavar="NAME|PATH", help="the model to compare with, on the same items")
    add(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="JSON Lines (.gz), JSON or parquet",
    )
    add("--profile", metavar="NAME", help="head weights, of both models (each one's default)")
    add("--margin", type=float, default=0.02, help="loss of accuracy that still counts as not worse (0.02)")
    add("--robustness", type=int, default=0, metavar="N", help="also change the chosen response of N pairs")
    kept = "the report and every item's scores (to standard output, in place of the table)"
    add("--json", type=Path, nargs="?", const=STDOUT, metavar="OUT", help=kept)
    add("--report", type=Path, metavar="OUT", help="the report as one HTML page")
    add("--markdown", type=Path, metavar="OUT", help="the report for a pull request")
    add("--rewardbench", type=Path, metavar="OUT", help="accuracy by subset in RewardBench's shape")
    add("--backend", default="torch", help="torch or onnxruntime (torch)")
    add("--dtype", default="float32", help="float32, bfloat16, float16 or int8 (float32)")
    add("--device", default="cpu", help="cpu or cuda (cpu)")
    add("--threads", type=int, metavar="N", help="threads of one forward (the back end's choice)")
    return parser
