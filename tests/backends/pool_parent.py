"""``python -m tests.backends.pool_parent``: two engine processes, one busy for ever."""

import sys
import threading

import numpy as np

from guerdon_service.core.encoded import Encoded
from tests.engine_process import HANG, pool_of

if __name__ == "__main__":
    pool = pool_of(2)
    stuck = Encoded(np.array([1, HANG], dtype=np.int32), 1, truncated=False)
    threading.Thread(target=pool.forward, args=([stuck, stuck],), daemon=True).start()
    sys.stdout.write(" ".join(str(process["pid"]) for process in pool.processes()) + "\n")
    sys.stdout.flush()
    threading.Event().wait()
