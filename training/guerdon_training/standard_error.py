"""What a run says on standard error, above its progress bars."""

import sys
from collections.abc import Callable

from accelerate import Accelerator
from tqdm import tqdm


def say(line: str) -> None:
    """One line."""
    tqdm.write(line, file=sys.stderr)


def said_by(accelerator: Accelerator) -> Callable[[str], object]:
    """`say`, of several processes by one."""
    return say if accelerator.is_main_process else lambda line: None
