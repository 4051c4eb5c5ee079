"""``python -m tests.fuzz.one TARGET COUNT ENGINE CORPUS FINDINGS``: one parser, that many inputs."""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

INSTRUMENTED = ["guerdon_service.rest", "guerdon_service.rpc", "guerdon_service.core", "guerdon.transport"]


def main(name: str, count: str, engine: str, corpus: str, findings: str) -> None:
    """Exit status 0 when nothing failed; a failing input is kept in `findings`."""
    if engine == "atheris":
        _guided(name, int(count), corpus, findings)
    else:
        _unguided(name, int(count), Path(findings))


def _guided(name: str, count: int, corpus: str, findings: str) -> None:
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = import_module("tests.fuzz.targets")
    options = [f"-runs={count}", "-max_len=4096", f"-artifact_prefix={findings}/{name}-", "-verbosity=0"]
    atheris.Setup([name, corpus, *options], targets.TARGETS[name])
    atheris.Fuzz()  # ends the process


def _unguided(name: str, count: int, findings: Path) -> None:
    targets, mutate = import_module("tests.fuzz.targets"), import_module("tests.fuzz.mutate")
    for data in mutate.mutations(targets.SEEDS[name], count, seed=int(time.time())):
        try:
            targets.TARGETS[name](data)
        except Exception:
            (findings / f"{name}-crash").write_bytes(data)
            raise


if __name__ == "__main__":
    main(*sys.argv[1:])
