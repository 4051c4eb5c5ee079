"""The end of the process, whatever still hangs in it."""

import logging
import os
import sys
import threading

LEAVE_S = 5.0
"""What threads may take to end once everything is closed, in seconds; those that are idle take none."""

_LOG = logging.getLogger(__name__)


def leave_soon() -> None:
    """End the process within `LEAVE_S`, with status 0, if it does not end by itself.

    The interpreter waits without end for the threads of pools: a forward that hangs, or a model that is being
    loaded, would keep a stopped service until it is killed.
    """
    timer = threading.Timer(LEAVE_S, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    _LOG.warning("left with threads still at work")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
