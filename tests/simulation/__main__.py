"""``python -m tests.simulation [--histories N] [--first SEED]``: many histories.

``GUERDON_SEED=SEED python -m tests.simulation``: that one, with everything that happens in it.
"""

import argparse
import os
import sys
from collections import Counter

from tqdm import tqdm

from tests.simulation.history import History, run_history


def main(argv: list[str]) -> int:
    """0 when every invariant held in every history."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first history")
    args = parser.parse_args(argv)
    if "GUERDON_SEED" in os.environ:
        return _replay(int(os.environ["GUERDON_SEED"]))
    outcomes: Counter[str] = Counter()
    failures = 0
    seeds = range(args.first, args.first + args.histories)
    for seed in tqdm(seeds, unit=" histories", mininterval=1.0, disable=None):
        history = run_history(seed)
        outcomes.update(history.outcomes)
        if history.violations:
            failures += 1
            tqdm.write(history.verdict)
    total = sum(outcomes.values())
    tqdm.write(f"{args.histories} histories, {total} requests, {failures} histories broke an invariant")
    tqdm.write("\n".join(f"{count:9} {kind}" for kind, count in outcomes.most_common()))
    return int(failures > 0)


def _replay(seed: int) -> int:
    history: History = run_history(seed)
    tqdm.write("\n".join([str(history.plan), *history.world.trace]))
    tqdm.write(history.verdict)
    return int(bool(history.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
