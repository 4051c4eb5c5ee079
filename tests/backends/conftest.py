"""One thread: the machine is shared, and one test raises it on purpose."""

from tests.threads import one_thread

__all__ = ["one_thread"]
