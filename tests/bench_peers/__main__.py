"""``python -m tests.bench_peers [--rounds N] [--rows ...] [--peers ...]``: Guerdon beside its peers."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from guerdon_service.core.whole_file import write_whole
from tests.bench_peers import table
from tests.bench_peers.catalogue import guerdon_servers, peer_servers
from tests.bench_peers.install import STEPS, install
from tests.bench_peers.reference import Reference
from tests.bench_peers.rows import NEEDS, ROWS, Bench, Row
from tests.bench_peers.server import Live, Server, started
from tests.redis_server import RedisServer


def main(argv: Sequence[str]) -> int:
    """0 when every server was measured, whatever the ratios; 1 when one could not be started."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers end with this process
    began = time.monotonic()
    folder: Path = args.folder.resolve()
    install(folder, STEPS)
    rows: list[Row] = []
    with RedisServer() as redis:
        servers = _chosen(guerdon_servers(redis.url), peer_servers(), args.peers)
        comparison = Comparison(folder, servers, args.rounds, args.scale)
        for row in comparison.rows(_in_order(args.rows)):
            rows.append(row)
            report = {"argv": list(argv), "seconds": time.monotonic() - began, "rows": table.as_json(rows)}
            args.output.mkdir(parents=True, exist_ok=True)
            write_whole(args.output / "peers.json", json.dumps(report, indent=2) + "\n")
    sys.stdout.write(table.text(rows) + "\n")
    _tell(f"{time.monotonic() - began:.0f} s; wrote {args.output / 'peers.json'}")
    return int(bool(comparison.missing))


@dataclass(slots=True)
class Comparison:
    """Servers that are measured together.

    scale: of the work per round; 1 is what the goals are stated for.
    missing: labels of servers that did not start, so far.
    """

    folder: Path
    servers: Sequence[Server]
    rounds: int
    scale: float
    missing: list[str] = field(default_factory=list)

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """Each row when it is measured; all servers of a model are up together."""
        done: dict[str, Row] = {}
        for model in dict.fromkeys(ROWS[name][0] for name in names):
            of_model = [name for name in names if ROWS[name][0] == model]
            wanted = [s for s in self.servers if s.model == model and s.rows & set(of_model)]
            with ExitStack() as stack:
                lives = _ready(_begun(stack, wanted, self.folder))
                self.missing += [s.label for s in wanted if s not in [live.server for live in lives]]
                bench = Bench(lives, Reference(self.folder / "models" / model), self.rounds, self.scale)
                for name in of_model:
                    done[name] = ROWS[name][1](bench, done)
                    yield done[name]


def _begun(stack: ExitStack, servers: Sequence[Server], folder: Path) -> list[Live]:
    """The servers whose program is there, all starting; `stack` stops them."""
    lives = []
    for server in servers:
        try:
            lives.append(stack.enter_context(started(server, folder)))
        except OSError as error:
            _tell(f"left out: {server.label}: {error}")
    return lives


def _ready(lives: Sequence[Live]) -> list[Live]:
    """Those that became ready."""
    ready = []
    for live in lives:
        try:
            seconds = live.wait_ready()
        except RuntimeError as error:
            _tell(f"left out: {error}")
            live.stop()
        else:
            _tell(f"{live.server.model}: {live.server.label} is ready after {seconds:.0f} s")
            ready.append(live)
    return ready


def _chosen(ours: list[Server], peers: list[Server], words: Sequence[str]) -> list[Server]:
    """Guerdon, and the peers whose label holds one of the words; all of them where there are none."""
    return ours + [s for s in peers if not words or any(word in s.label for word in words)]


def _in_order(names: Sequence[str]) -> list[str]:
    """Names in the table's order, with the rows that they need."""
    wanted = {*names, *(NEEDS[name] for name in names if name in NEEDS)}
    return [name for name in ROWS if name in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_peers", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path(".peers"), help="environments and models (.peers)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (5)")
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=tuple(ROWS), help="what to measure")
    parser.add_argument("--peers", nargs="+", default=(), help="words of the peers' names; left out, all")
    parser.add_argument("--scale", type=float, default=1.0, help="of the work per round (1)")
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder for peers.json (bench)")
    return parser


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(main(sys.argv[1:]))
