"""``python -m tests.fuzz --count N``: N inputs, one in a hundred to the ports and the others to parsers.

Parsers run in a process each, under atheris' coverage guidance where it is installed; the ports get byte
streams and, over REST, histories of calls that schemathesis plays. What fails is kept in ``--findings`` and
makes the exit status 1.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from guerdon_service.core.limits import Limits
from tests.contract.harness import served
from tests.fuzz.mutate import mutations
from tests.fuzz.stateful import run_histories
from tests.fuzz.streams import HTTP1, HTTP2, throw
from tests.fuzz.targets import SEEDS, TARGETS

STREAM_SHARE = 0.01
HISTORY_CALLS = 8
"""At most, of one history."""


def main() -> int:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="inputs over all parsers (20000)")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "guerdon-fuzz")
    args = parser.parse_args()
    args.findings.mkdir(parents=True, exist_ok=True)
    engine = "atheris" if find_spec("atheris") else "mutations"
    sys.stdout.write(f"{'target':20} {'engine':12} {'inputs':>9} {'seconds':>8} failures\n")
    to_ports = round(args.count * STREAM_SHARE / 3)
    to_each = -(-(args.count - 3 * to_ports) // len(TARGETS))
    failures = sum(_parser(name, to_each, engine, args.findings) for name in TARGETS)
    failures += asyncio.run(_ports(to_ports))
    failures += _histories(to_ports)
    return int(failures > 0)


def _parser(name: str, count: int, engine: str, findings: Path) -> int:
    """One target in a process of its own; 1 if it failed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as corpus:
        for i, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(i)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz.one", name, str(count), engine, corpus, str(findings)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = ended.returncode != 0
    _row(name, engine, count, started, int(failed))
    if failed:
        sys.stderr.write(f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}\n")
    return int(failed)


async def _ports(count: int) -> int:
    failures = 0
    async with served(limits=Limits(max_body_bytes=100_000)) as it:
        for name, port, seeds in (("HTTP/1.1 port", it.port, HTTP1), ("HTTP/2 port", it.grpc_port, HTTP2)):
            started = time.monotonic()
            seen = await throw(port, mutations(seeds, count, seed=int(time.time())))
            reply = await it.rest.get("/health/ready")
            failed = int(seen.num_5xx > 0 or reply.status_code != 200)
            failures += failed
            _row(name, "mutations", seen.num_streams, started, failed)
    return failures


def _histories(count: int) -> int:
    """At least `count` calls over REST, in histories; 1 if an answer is not what the document allows."""
    started, failed, num_calls = time.monotonic(), 0, 0
    try:
        while num_calls < count:
            num_calls += run_histories(-(-(count - num_calls) // HISTORY_CALLS))
    except BaseExceptionGroup as found:
        failed = 1
        sys.stderr.write(f"{found.exceptions}\n")
    _row("REST histories", "schemathesis", num_calls, started, failed)
    return failed


def _row(name: str, engine: str, count: int, started: float, failures: int) -> None:
    sys.stdout.write(f"{name:20} {engine:12} {count:9} {time.monotonic() - started:8.1f} {failures}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
