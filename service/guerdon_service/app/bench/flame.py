"""Where the service's processor time goes under load: a flame graph, and the share of each part.

py-spy looks from outside, a hundred times a second, at every thread that runs. Operators of torch count to
the Python line that calls them.
"""

import itertools
import subprocess
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

from guerdon_service.app.bench.figure import Figure, plain
from guerdon_service.app.bench.flame_svg import Stacks, flame_svg
from guerdon_service.app.bench.process import running, service
from guerdon_service.app.bench.rows import drive, singles
from guerdon_service.app.bench.texts import mixed_items
from guerdon_service.core.whole_file import write_whole

SECONDS = 15
RATE_HZ = 100
CONCURRENCY = 64
WAITING = ("threading.py", "concurrent/futures/", "selectors.py", "queue.py")
"""Files of the last frame of a thread that waits, which py-spy now and then takes for one that runs."""
WRAPPERS = (*WAITING, "torch/nn/modules/module.py", "torch/_ops.py", "transformers/utils/", "<frozen")
"""Files whose frames only call the next one, and are left out."""
PARTS = {
    "linear layers": (
        "backends/prepacked_linear.py",
        "backends/int8_linear.py",
        "torch/nn/modules/linear.py",
    ),
    "attention": ("backends/attention.py", "backends/attention_products.py", "backends/attention_masks.py"),
    "the rest of the forward": ("backends/",),
    "tokenizing": ("guerdon_service/tokenization/",),
    "engine, cache and scoring": (
        "guerdon_service/engine/",
        "guerdon_service/cache/",
        "guerdon_service/scoring/",
    ),
    "transport": ("guerdon_service/rest/", "guerdon_service/rpc/", "uvicorn/", "starlette/", "asyncio/"),
}
"""Files of each part; a stack belongs to the first part that one of its frames lies in."""


def flame_graph(source: str, dtype: str, count: int, output: Path) -> list[Figure]:
    """Write ``flame.svg`` below `output`: the service at concurrency 64, nothing cached.

    Raises:
        RuntimeError: py-spy cannot look into the service.
    """
    with tempfile.TemporaryDirectory() as folder, running(*service(source, dtype=dtype)) as process:
        drive(process.port, singles(mixed_items(CONCURRENCY, seed=12)), CONCURRENCY)
        raw = Path(folder) / "raw"
        options = ["--pid", str(process.pid), "--duration", str(SECONDS), "--rate", str(RATE_HZ)]
        spy = subprocess.Popen(
            [*record_to(raw), *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for seed in itertools.count(13):  # tokens of texts that were sent before are known
            if spy.poll() is not None:
                break
            drive(process.port, singles(mixed_items(count, seed=seed)), CONCURRENCY)
        said = spy.communicate()[1]
        if not raw.is_file():
            raise RuntimeError(
                f"py-spy wrote nothing: {said[-200:].strip()}; it needs the bench extra and, for users other "
                "than root, kernel.yama.ptrace_scope=0"
            )
        stacks = read_stacks(raw.read_text(encoding="utf-8"))
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / "flame.svg", flame_svg(stacks, f"guerdon serve, {dtype}, concurrency {CONCURRENCY}"))
    return [plain(f"{dtype}: samples in {part}", [share], "") for part, share in shares(stacks).items()]


def record_to(raw: Path) -> list[str]:
    """The command that samples a program's stacks to a file, but for which program."""
    return [
        str(Path(sysconfig.get_path("scripts")) / "py-spy"),
        "record",
        "--format",
        "raw",
        "--output",
        str(raw),
    ]


def read_stacks(raw: str) -> Stacks:
    """Samples of threads that work, by stack, outermost frame first; from lines ``frame;frame;... count``."""
    stacks: Stacks = Counter()
    for line in raw.splitlines():
        frames, count = line.rsplit(" ", 1)
        names = frames.split(";")
        if not any(file in names[-1] for file in WAITING):
            stacks[tuple(f for f in names if not any(w in f for w in WRAPPERS))] += int(count)
    return stacks


def shares(stacks: Stacks) -> dict[str, float]:
    """Share of the samples by part of the service."""
    counts: Counter[str] = Counter()
    for frames, count in stacks.items():
        counts[_part_of(frames)] += count
    return {part: counts[part] / counts.total() for part in (*PARTS, "other")}


def _part_of(frames: tuple[str, ...]) -> str:
    for part, files in PARTS.items():
        if any(file in frame for frame in frames for file in files):
            return part
    return "other"
