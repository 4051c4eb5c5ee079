"""Retries against a clock that only moves when the code sleeps."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guerdon
from guerdon.client.retry import Clock, Deadline, RetryPolicy, retrying
from tests.client.conftest import FakeClock

ANSWER = "answer"


def failing(*errors: guerdon.GuerdonError) -> tuple[Callable[[float], object], list[float]]:
    """An attempt that raises `errors` in turn, then answers; and the seconds that each was given."""
    left, given_s = list(errors), []

    async def attempt(left_s: float) -> str:
        given_s.append(left_s)
        if left:
            raise left.pop(0)
        return ANSWER

    return attempt, given_s


async def run(
    fake: FakeClock, *errors: guerdon.GuerdonError, max_retries: int = 5, deadline_s: float | None = None
) -> list[float]:
    """Seconds given to each attempt of a call that succeeds after `errors`."""
    attempt, given_s = failing(*errors)
    deadline = Deadline.after(deadline_s, 300.0, fake.clock)
    policy = RetryPolicy(max_retries, base_s=0.2, cap_s=10.0)
    assert await retrying(attempt, policy, deadline, fake.clock) == ANSWER  # type: ignore[arg-type]
    return given_s


@given(st.integers(0, 40), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 100))
def test_waits_are_full_jitter_on_top_of_what_was_asked(
    attempt: int, uniform: float, after_s: float | None
) -> None:
    wait_s = RetryPolicy(5, base_s=0.2, cap_s=10.0).wait_s(attempt, after_s, uniform)
    asked_s = after_s or 0.0
    assert asked_s <= wait_s <= asked_s + min(10.0, 0.2 * 2.0**attempt)


async def test_backoff_doubles(fake: FakeClock) -> None:
    fake.uniform = 1.0
    await run(fake, *[guerdon.Overloaded("full") for _ in range(4)])
    assert fake.slept == [0.2, 0.4, 0.8, 1.6]


async def test_the_services_wish_is_honoured(fake: FakeClock) -> None:
    fake.uniform = 0.0
    await run(
        fake, guerdon.Overloaded("full", retry_after_s=7.0), guerdon.NotReady("loading", retry_after_s=2.0)
    )
    assert fake.slept == [7.0, 2.0]


@pytest.mark.parametrize("error", [guerdon.InvalidInput("bad"), guerdon.BackendFailed("nan")])
async def test_what_a_retry_cannot_help_is_raised_at_once(
    fake: FakeClock, error: guerdon.GuerdonError
) -> None:
    with pytest.raises(type(error)):
        await run(fake, error)
    assert fake.slept == []


async def test_a_service_that_forbids_retries_gets_none(fake: FakeClock) -> None:
    with pytest.raises(guerdon.Overloaded):
        await run(fake, guerdon.Overloaded("full", retryable=False))
    assert fake.slept == []


async def test_the_last_error_is_raised_when_retries_run_out(fake: FakeClock) -> None:
    with pytest.raises(guerdon.NotReady, match="second"):
        await run(fake, guerdon.NotReady("first"), guerdon.NotReady("second"), max_retries=1)
    assert len(fake.slept) == 1


async def test_a_wait_that_would_pass_the_deadline_is_not_begun(fake: FakeClock) -> None:
    with pytest.raises(guerdon.Overloaded) as raised:
        await run(fake, guerdon.Overloaded("full", retry_after_s=5.0), deadline_s=5.0)
    assert (raised.value.retry_after_s, fake.slept, fake.now_s) == (5.0, [], 100.0)


async def test_each_attempt_gets_what_is_left(fake: FakeClock) -> None:
    fake.uniform = 0.0
    asked = [guerdon.Overloaded("full", retry_after_s=4.0), guerdon.Overloaded("full", retry_after_s=3.0)]
    assert await run(fake, *asked, deadline_s=10.0) == [10.0, 6.0, 3.0]


async def test_one_attempt_is_bounded_without_a_deadline_too(fake: FakeClock) -> None:
    assert await run(fake) == [300.0]
    with pytest.raises(guerdon.Overloaded):
        await run(fake, guerdon.Overloaded("full", retry_after_s=301.0))


async def test_an_attempt_that_takes_all_its_time_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def hang(left_s: float) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    real = Clock()
    with pytest.raises(guerdon.DeadlineExceeded):
        await retrying(hang, RetryPolicy(), Deadline.after(0.01, 300.0, real), real)
    assert cancelled.is_set()
