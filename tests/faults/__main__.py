"""``python -m tests.faults [--phase N] [--only WORD]``: every fault under load, as a table."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterable

from tqdm import tqdm

from tests.faults.fault import Fault
from tests.faults.load import WRONG, Tally
from tests.faults.suite import FAULTS

HEAD = ("fault", "what was tried", "requests", "answers", "errors", "wrong", "stuck", "")


def main(argv: list[str]) -> int:
    """0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--phase", type=int, default=1000, help="answers that each phase of a fault lasts")
    parser.add_argument("--only", default="", help="faults whose names hold this word")
    args = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)  # each injected failure is logged, thousands of them
    rows: list[tuple[str, ...]] = [HEAD]
    is_kept = True
    for fault in tqdm([f for f in FAULTS if args.only in f.name], unit=" faults", disable=None):
        tally = asyncio.run(fault.run(args.phase))
        rows.append(_row(fault, tally))
        is_kept = is_kept and not fault.complaint(tally)
    tqdm.write(_table(rows))
    return int(not is_kept)


def _row(fault: Fault, tally: Tally) -> tuple[str, ...]:
    errors = " ".join(f"{code}:{count}" for code, count in sorted(tally.errors.items()))
    figures = (tally.num_asked, tally.outcomes.total(), errors or 0, tally.outcomes[WRONG], tally.num_stuck)
    return fault.name, fault.tried, *map(str, figures), fault.complaint(tally) or "ok"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, columns)).rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
