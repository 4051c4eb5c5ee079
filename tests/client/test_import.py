"""What `import guerdon` costs and shows."""

import os
import subprocess
import sys
import types

import guerdon
from guerdon import errors

HEAVY = (
    "torch",
    "transformers",
    "fastapi",
    "pydantic",
    "numpy",
    "httpx",
    "grpc",
    "google.protobuf",
    "tqdm",
    "redis",
)

STANDARD = "import asyncio, base64, dataclasses, inspect, logging, secrets, ssl"


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, guerdon; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_costs_little_beside_the_standard_library_that_it_needs() -> None:
    """Processor time, least of five. Not in seconds, as other work on a core makes both take more of them.

    On a slow machine they are 0.17 beside 0.10, where 0.2 are the bound.
    """

    def cpu_s(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    codes = ("pass", STANDARD, "import guerdon")
    rounds = [[cpu_s(code) for code in codes] for _ in range(5)]
    start, standard, ours = map(min, zip(*rounds, strict=True))
    assert ours - start < 4 * (standard - start)


def test_a_rest_client_loads_no_grpc_and_a_grpc_client_no_httpx() -> None:
    for url, absent in (("http://h:1", "grpc"), ("grpc://h:1", "httpx")):
        code = f"import sys, guerdon; guerdon.AsyncClient({url!r}); print({absent!r} in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


def test_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom guerdon.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_all_is_sorted_and_complete() -> None:
    public = {n for n, v in vars(guerdon).items() if n[0] != "_" and not isinstance(v, types.ModuleType)}
    assert guerdon.__all__ == sorted(public)


def test_every_error_is_exported() -> None:
    found = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.GuerdonError)}
    assert found <= set(guerdon.__all__)
