"""The collector is held while a service starts, and looks at nothing of that later."""

import subprocess
import sys

STARTING = """
import gc
from guerdon_service.app.collector import hold_collector, settle_heap, settle_imports

default = gc.get_threshold()
hold_collector()
held = gc.get_threshold()
imported = [[] for _ in range(1000)]
settle_imports()
frozen = gc.get_freeze_count()
loaded = [[] for _ in range(1000)]
lost = []
lost.append(lost)
del lost
settle_heap()
assert held[0] > gc.get_threshold()[0] > default[0]
assert frozen >= 1000
assert gc.get_freeze_count() >= frozen + 1000
assert len(gc.get_objects()) < 1000
print("settled", gc.isenabled())
"""


def test_what_starting_made_is_out_of_the_collectors_sight() -> None:
    """In a process of its own, since what is frozen there stays so."""
    done = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, text=True, check=False)
    assert done.stdout == "settled True\n", done.stderr
