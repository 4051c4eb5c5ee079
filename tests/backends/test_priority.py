"""Forwards go after the rest of the process."""

import os
import sys
import threading

import pytest

from guerdon_service.backends.priority import NICENESS, give_way


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of single threads is Linux's")
def test_a_thread_that_gives_way_takes_those_that_it_starts_along_and_no_other() -> None:
    found: dict[str, int] = {}

    def note(name: str) -> None:
        found[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def forward() -> None:
        give_way()
        note("forward")
        helper = threading.Thread(target=note, args=("helper",))
        helper.start()
        helper.join()

    thread = threading.Thread(target=forward)
    thread.start()
    thread.join()
    note("main")
    assert found["forward"] == found["helper"] == max(NICENESS, found["main"])
    assert found["main"] == os.getpriority(os.PRIO_PROCESS, os.getpid())
