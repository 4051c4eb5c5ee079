"""``guerdon capacity``: how many replicas an arrival rate and a 99th percentile need."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from guerdon_service.core.capacity import Capacity, Device, Workload, replicas_for
from guerdon_service.core.limits import Limits


def capacity_command(argv: Sequence[str]) -> int:
    """Print the fewest replicas that suffice, and what they give.

    Raises:
        GuerdonError: a figure is out of range, or no number of replicas is fast enough.
    """
    args = _parser().parse_args(list(argv))
    workload = Workload(args.arrival_rate, args.mean_tokens, args.cv_tokens)
    budget = args.max_batch_tokens
    if budget is None:
        budget = Limits().on(args.device).max_batch_tokens
    device = Device(args.tokens_per_s, args.batch_overhead_ms / 1000, budget)
    found = replicas_for(workload, device, args.p99_ms / 1000)
    print(json.dumps(asdict(found)) if args.json else _text(found))  # noqa: T201 - its answer
    return 0


def _text(found: Capacity) -> str:
    return (
        f"replicas     {found.replicas}\n"
        f"utilisation  {found.utilisation:.0%}\n"
        f"latency      mean {1000 * found.mean_s:.3g} ms, p99 {1000 * found.p99_s:.3g} ms"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guerdon capacity",
        description="The fewest replicas, of one device each, that answer Poisson arrivals within a 99th "
        "percentile. What the model leaves out, and how far off it is: docs/scaling.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--tokens-per-s",
        type=float,
        required=True,
        metavar="N",
        help="of one replica, as `guerdon bench` tells",
    )
    add(
        "--arrival-rate",
        type=float,
        required=True,
        metavar="N",
        help="items per second, at all replicas together",
    )
    add("--mean-tokens", type=float, required=True, metavar="N", help="of an item, prompt and response")
    add("--p99-ms", type=float, required=True, metavar="MS", help="99th percentile to keep, in milliseconds")
    add(
        "--cv-tokens",
        type=float,
        default=0.7,
        metavar="N",
        help="deviation of tokens / their mean (%(default)s)",
    )
    add(
        "--batch-overhead-ms",
        type=float,
        default=2.0,
        metavar="MS",
        help="fixed time of a batch (%(default)s)",
    )
    add("--device", choices=("cpu", "cuda"), default="cpu", help="that the model is on (%(default)s)")
    budget, on_cuda = Limits().max_batch_tokens, Limits().max_batch_tokens_cuda
    add("--max-batch-tokens", type=int, metavar="N", help=f"of a full batch ({budget}; {on_cuda} on CUDA)")
    add("--json", action="store_true", help="print one JSON object, times in seconds")
    return parser
