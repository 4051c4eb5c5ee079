"""``guerdon bench [--model PATH] [--rows ...] [--rounds N] [--output FOLDER]``."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from guerdon_service.app.bench import rows
from guerdon_service.app.bench.best_of_n import best_of_sixteen
from guerdon_service.app.bench.bulk import interactive_beside_bulk
from guerdon_service.app.bench.decoder import write_decoder
from guerdon_service.app.bench.evaluation import evaluation_share
from guerdon_service.app.bench.figure import Figure, line
from guerdon_service.app.bench.flame import flame_graph
from guerdon_service.app.bench.gpu import on_gpu
from guerdon_service.app.bench.growth import cost_growth
from guerdon_service.app.bench.in_process import alias_lookup, rank_tokens
from guerdon_service.app.bench.limit import share_of_limit
from guerdon_service.app.bench.overhead import cached_overhead
from guerdon_service.app.bench.overload import overload
from guerdon_service.app.bench.plot import write_plot
from guerdon_service.artifacts.resolve import DEFAULT_MODEL
from guerdon_service.core.whole_file import write_whole

GPU = "gpu"
"""The row of ``--gpu``."""


def bench_command(argv: Sequence[str]) -> int:
    """Measure, print the table, write ``bench.json`` and ``bench.png``; 0 whatever the figures say.

    They are written after each row: one that fails takes no other's figures with it.
    """
    args = _parser().parse_args(argv)
    output: Path = args.output
    figures: list[Figure] = []
    report = ""
    for name in args.rows or _rows_for(Path(args.model)):
        sys.stderr.write(f"measuring {name} ...\n")
        found = _ROWS[name](args)
        lines = sys.stderr if args.json else sys.stdout
        lines.write("\n".join(map(line, found)) + "\n")
        lines.flush()
        figures += found
        report = _write(output, argv, figures)
    if args.json:
        sys.stdout.write(report)
    sys.stderr.write(f"wrote {output / 'bench.json'} and {output / 'bench.png'}\n")
    return 0


def _write(output: Path, argv: Sequence[str], figures: Sequence[Figure]) -> str:
    """The JSON, and the plot beside it; what was there is replaced."""
    output.mkdir(parents=True, exist_ok=True)
    report = {"machine": _machine(), "argv": list(argv), "figures": [asdict(f) for f in figures]}
    text = json.dumps(report, indent=2) + "\n"
    write_whole(output / "bench.json", text)
    write_plot(figures, output / "bench.png")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guerdon bench", description=__doc__)
    parser.add_argument(
        "--model", default=str(DEFAULT_MODEL), help="artifact folder; left out, the default model"
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--rows",
        nargs="+",
        type=_row,
        metavar="ROW",
        help=f"what to measure, of {', '.join(_ON_CPU)}; all if left out",
    )
    chosen.add_argument(
        "--gpu",
        action="store_const",
        dest="rows",
        const=[GPU],
        help="models of real shapes on CUDA, and nothing else",
    )
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds per ratio")
    parser.add_argument("--items", type=int, default=256, help="items per round")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the overload lasts")
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder for JSON and plot")
    parser.add_argument("--json", action="store_true", help="print bench.json; the table goes to stderr")
    return parser


def _row(text: str) -> str:
    if text not in _ON_CPU:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no row; write rows with spaces between them, of {', '.join(_ON_CPU)}"
        )
    return text


def _rows_for(model: Path) -> list[str]:
    """What runs on CPUs; rows of onnxruntime only where ``guerdon export`` has written the graphs."""
    has_graphs = (model / "onnx").is_dir()
    return [name for name in _ON_CPU if has_graphs or not name.startswith("onnx")]


def _with_decoder(measure: Callable[[str, int], list[Figure]], args: argparse.Namespace) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return measure(str(write_decoder(Path(folder))), args.rounds)


def _machine() -> dict[str, str | int]:
    return {"processor": _processor(), "cores": os.cpu_count() or 0, "python": platform.python_version()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.machine())


_ROWS: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "fp32": lambda a: rows.whole_service(a.model, "torch", "float32", a.rounds, a.items),
    "bf16": lambda a: rows.whole_service(a.model, "torch", "bfloat16", a.rounds, a.items),
    "onnx-fp32": lambda a: rows.whole_service(a.model, "onnxruntime", "float32", a.rounds, a.items),
    "onnx-int8": lambda a: rows.whole_service(a.model, "onnxruntime", "int8", a.rounds, a.items),
    "limit": lambda a: share_of_limit(a.model, a.rounds, a.items),
    "overhead": lambda a: cached_overhead(a.model, a.rounds),
    "padded": lambda a: rows.against_padded(a.model, a.rounds, a.items),
    "naive": lambda a: rows.against_naive(a.model, a.rounds, a.items),
    "rank": lambda a: _with_decoder(rows.shared_prompt, a),
    "rank-tokens": lambda a: _with_decoder(rank_tokens, a),
    "alias": lambda a: alias_lookup(a.model, a.rounds),
    "best-of-n": lambda a: best_of_sixteen(a.rounds),
    "bulk": lambda a: interactive_beside_bulk(a.model, a.rounds, a.items),
    "cache": lambda a: rows.cache_hits(a.model, a.rounds, a.items),
    "open": lambda a: rows.open_arrivals(a.model, 0.7, a.rounds, a.items),
    "flame": lambda a: flame_graph(a.model, "bfloat16", a.items, a.output),
    GPU: lambda a: on_gpu(a.rounds, a.items),
    "growth": lambda a: cost_growth(a.model, a.rounds),
    "overload": lambda a: overload(a.model, a.items, a.seconds),
    "evaluation": lambda a: evaluation_share(a.model, a.rounds, a.items),
    "start": lambda a: rows.start_up(a.model, a.rounds),
}
_ON_CPU = tuple(name for name in _ROWS if name != GPU)
