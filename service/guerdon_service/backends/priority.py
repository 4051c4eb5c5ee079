"""Who goes first when there are more threads than cores."""

import os
import sys
import threading
from contextlib import suppress

NICENESS = 5
"""Of forwards: a thread of niceness 0 gets three times the time of one of 5 (sched(7))."""


def give_way() -> None:
    """Let the rest of the process go before this thread and those that it starts; on Linux alone.

    Who reads requests, refuses and answers them needs little time, but needs it at once.
    """
    if sys.platform == "linux":  # elsewhere niceness is the whole process's
        with suppress(OSError):  # forbidden by a sandbox
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
