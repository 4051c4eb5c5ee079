"""glibc keeps what a forward frees."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
from guerdon_service.backends.freed_memory import keep_freed_memory

def faults():
    '''Pages that the kernel had to give for blocks of 8 MB, taken and freed again and again.'''
    bytearray(8 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(8 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[1] == "keep":
    keep_freed_memory()
faults()
"""


def num_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_what_is_freed_is_not_asked_of_the_kernel_again() -> None:
    assert num_faults("keep") < 100 < num_faults("leave")
