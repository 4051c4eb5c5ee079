"""When Python's garbage collector looks: hardly while the service starts, seldom while it serves."""

import gc


def hold_collector() -> None:
    """Let imports and loading make their hundreds of thousands of objects undisturbed: few are in cycles.

    Looking through them again and again was a seventh of the time from the start to readiness.
    """
    gc.set_threshold(400_000, 20, 100)


def settle_imports() -> None:
    """Take what was imported so far out of the collector's sight."""
    gc.freeze()


def settle_heap() -> None:
    """Take what loading left behind out of the collector's sight, too, and let it look seldom from now on.

    Requests make many short-lived objects and no cycles; collecting among the imported libraries' hundreds
    of thousands cost more than half of a large request, in pauses of the event loop.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
