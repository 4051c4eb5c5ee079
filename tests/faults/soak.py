"""``python -m tests.faults.soak [--minutes 30]``: mixed traffic, a fault every few seconds, and what grows.

Service and clients share this process, so its memory, descriptors and tasks are those of both.
"""

import argparse
import asyncio
import gc
import logging
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from guerdon_service.core.encoded import Encoded
from guerdon_service.scoring.encoded_memo import EncodedMemo
from tests.faults.backend_faults import recovered
from tests.faults.load import WRONG, Load
from tests.faults.scene import Scene, scene
from tests.faults.wire_faults import cancel_many
from tests.redis_server import RedisServer

MEMO_BYTES = 64 * 1024
CALM_S = 2.0
"""Between a fault and the next one."""
MAX_SLOPE_MIB_PER_MIN = 1.0


def main(argv: list[str]) -> int:
    """0 when no score was wrong, nobody was stuck and nothing grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    load, samples = asyncio.run(soak(60 * args.minutes, random.Random(0)))
    tally, slope = load.tally, slope_mib_per_min(samples)
    (_, _, fds, tasks), (_, _, last_fds, last_tasks) = samples[len(samples) // 3], samples[-1]
    tqdm.write(
        f"{args.minutes:g} minutes, {tally.num_asked} requests, {dict(tally.errors)} errors, "
        f"{tally.outcomes[WRONG]} wrong scores, {tally.num_stuck} stuck\n"
        f"memory {samples[-1][1]:.0f} MiB, growing {slope:.2f} MiB/min; descriptors {fds} to {last_fds}; "
        f"tasks {tasks} to {last_tasks}"
    )
    grows = slope > MAX_SLOPE_MIB_PER_MIN or last_fds > fds + 20 or last_tasks > tasks + 20
    return int(bool(tally.outcomes[WRONG] or tally.num_stuck or grows))


async def soak(duration_s: float, chance: random.Random) -> tuple[Load, list[tuple[float, float, int, int]]]:
    """The load, and samples of seconds, MiB, file descriptors and tasks."""
    samples = []
    # A cache that is still filling would look like a leak: this one is full within seconds.
    small = patch.object(EncodedMemo.__init__, "__defaults__", (MEMO_BYTES,))
    with small, RedisServer() as server, tqdm(total=round(duration_s), unit="s", disable=None) as bar:
        async with scene(redis_url=server.url) as it:
            started = time.monotonic()
            while (now := time.monotonic() - started) < duration_s:
                await _trouble(it, server, chance)
                await asyncio.sleep(CALM_S)
                gc.collect()
                samples.append((now, _rss_mib(), _num_descriptors(), len(asyncio.all_tasks())))
                bar.update(round(now) - bar.n)
    return it.load, samples


def slope_mib_per_min(samples: Sequence[tuple[float, float, int, int]]) -> float:
    """Least squares over the last two thirds: what is allocated once has been by then."""
    late = samples[len(samples) // 3 :]
    return 60 * float(np.polyfit([s[0] for s in late], [s[1] for s in late], 1)[0])


async def _trouble(it: Scene, server: RedisServer, chance: random.Random) -> None:
    match chance.randrange(5):
        case 0:
            await asyncio.to_thread(server.restart)
        case 1:
            server.pause()
            await it.load.more(50)
            server.resume()
        case 2:
            it.mischief.before = _fail
            await it.load.more(20)
            it.mischief.stop()
            await recovered(it)
        case 3:
            it.mischief.after = lambda rows: rows[:-1] if len(rows) > 1 else rows
            await it.load.more(50)
            it.mischief.stop()
        case 4:
            await cancel_many(it, 200)


def _fail(batch: Sequence[Encoded]) -> None:
    raise RuntimeError("injected")


def _rss_mib() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def _num_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
