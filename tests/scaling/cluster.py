"""Three processes of ``guerdon serve``, one Redis and one PostgreSQL, behind a balancer."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from guerdon.cli.service_process import READY
from tests.redis_server import RedisServer

NUM_REPLICAS = 3
START_S = 500.0
"""Three of them read torch from a cold disk at once."""


@dataclass
class ServeProcess:
    """One replica."""

    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    rest: str = ""
    grpc: str = ""

    def start(self) -> Self:
        """Start without waiting."""
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=_ENVIRON
            )
        return self

    def until_ready(self) -> None:
        """Return once it answers; its addresses are known then."""
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at and self.process.poll() is None:
            if found := READY.search(self.log.read_text("utf-8", "replace")):
                self.rest, self.grpc = found[1], f"grpc://{found[2]}"
                return
            time.sleep(0.05)
        raise RuntimeError(f"a replica did not start:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")

    def kill(self) -> None:
        """SIGKILL: whatever it was at is lost."""
        self.process.kill()
        self.process.wait()

    @property
    def port(self) -> int:
        return int(self.rest.rsplit(":", 1)[1])


_ENVIRON = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Cluster:
    """All of it. `model_store` holds ``v1``, which the settings name, and ``v2``, which nobody does yet."""

    replicas: tuple[ServeProcess, ...]
    redis: RedisServer

    def until_cached(self, num_items: int) -> None:
        """Return once Redis holds so many entries: replicas write to it after they have answered."""
        give_up_at = time.monotonic() + START_S
        with self.redis.client() as redis:
            while (found := redis.dbsize()) != num_items:
                assert time.monotonic() < give_up_at, f"Redis holds {found} entries, not {num_items}"
                time.sleep(0.01)

    def forget_cached(self) -> None:
        """Empty Redis; what the replicas remember themselves stays."""
        with self.redis.client() as redis:
            redis.flushall()


@contextmanager
def running_cluster(model_store: Path, state_url: str, redis: RedisServer) -> Iterator[Cluster]:
    """Replicas that serve ``reward`` from `model_store`'s ``v1``, each with ports of its own."""
    command = (
        *(sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0", "--threads", "1"),
        *("--model", f"reward={model_store / 'v1'}", "--model-store", str(model_store)),
        *("--redis-url", redis.url, "--state-url", state_url),
    )
    logs = (model_store.parent / f"replica-{i}.log" for i in range(NUM_REPLICAS))
    replicas = tuple(ServeProcess(command, log).start() for log in logs)
    try:
        for replica in replicas:
            replica.until_ready()
        yield Cluster(replicas, redis)
    finally:
        for replica in replicas:
            replica.kill()
