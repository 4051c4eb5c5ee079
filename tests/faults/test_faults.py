"""Each fault, shortly; ``make faults`` runs them for longer and prints the table."""

import asyncio
import time
from collections import Counter

import numpy as np
import pytest

from tests.faults import backend_faults
from tests.faults import load as load_module
from tests.faults.fault import Fault
from tests.faults.load import Tally, within
from tests.faults.scene import scene
from tests.faults.suite import FAULTS

PHASE = 40
"""Answers that each phase of a fault lasts."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_one_right_answer_or_one_clear_error(fault: Fault) -> None:
    tally = await fault.run(PHASE)
    assert not fault.complaint(tally), f"{fault.complaint(tally)} of {tally}"


async def test_wrong_scores_are_noticed() -> None:
    async with scene() as it:
        it.mischief.after = lambda rows: np.nextafter(rows, np.float32(np.inf))  # by the last bit
        await it.load.more(PHASE)
    fault = Fault("off by one bit", "", backend_faults.raises)
    assert fault.complaint(it.load.tally).endswith("wrong scores")


def test_lost_answers_and_unclear_errors_are_noticed() -> None:
    fault = Fault("any", "", backend_faults.raises, frozenset({"overloaded"}))
    assert fault.complaint(Tally(3, Counter(right=2))) == "1 requests without an answer"
    assert fault.complaint(Tally(3, Counter(right=2, internal=1))) == "callers saw internal"
    assert not fault.complaint(Tally(3, Counter(right=2, overloaded=1)))
    assert fault.complaint(Tally(1, Counter(overloaded=1))) == "nothing was answered"


async def test_who_waits_while_the_process_is_halted_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "BEAT_S", 0.01)

    async def halted() -> str:
        await asyncio.sleep(0.02)
        time.sleep(0.2)  # noqa: ASYNC251 - as far as the loop can tell, a SIGSTOP and a SIGCONT
        await asyncio.sleep(0.001)
        return "right"

    assert await within(halted(), patience_s=0.1) == "right"
    with pytest.raises(TimeoutError):
        await within(asyncio.Event().wait(), patience_s=0.02)
