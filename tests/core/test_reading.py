"""Requests are read in equal parts while the event loop stays late, and all of them else."""

import pytest

from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import DeadlineExceeded, InvalidInput, Overloaded
from guerdon_service.core.reading import Reading


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _num_read(reading: Reading, tenant: str, count: int) -> int:
    num_read = 0
    for _ in range(count):
        try:
            reading.request(tenant, Scope.SCORE).__enter__()
        except Overloaded:
            continue
        num_read += 1
    return num_read


def _ended(reading: Reading, tenant: str, failed: type[Exception] | None = None, count: int = 1) -> None:
    """So many requests that were read earlier."""
    for _ in range(count):
        reading.request(tenant, Scope.SCORE).__exit__(failed, None, None)


def _second(
    reading: Reading, clock: _Clock, lag_s: float, failed: type[Exception] | None = Overloaded
) -> None:
    """One in which a request of somebody else ended."""
    for _ in range(8):
        clock.now += 0.125
        reading.lagged(lag_s)
    _ended(reading, "else", failed)


def test_a_loop_in_time_reads_all() -> None:
    clock = _Clock()
    reading = Reading(clock)
    for _ in range(5):
        assert _num_read(reading, "a", 1_000) == 1_000
        _second(reading, clock, 0.01)


def test_a_pause_refuses_nobody() -> None:
    """One turn of the loop that took long, as a very large request or a collection does."""
    clock = _Clock()
    reading = Reading(clock)
    for lag_s in (2.0, 0.001, 0.3, 0.2, 0.0, 1.0):
        reading.lagged(lag_s)
        assert _num_read(reading, "a", 100) == 100
        clock.now += 0.125


def test_while_it_stays_late_a_tenant_is_read_at_twice_its_pace_or_at_an_equal_part() -> None:
    clock = _Clock()
    reading = Reading(clock)
    reading.request("a", Scope.SCORE).__enter__()
    for _ in range(3):
        _second(reading, clock, 0.3)
        for tenant in "abcd":
            _num_read(reading, tenant, 500)
        _ended(reading, "a", count=36)
        _ended(reading, "b", count=4)
    _second(reading, clock, 0.3)
    asked = (("a", 500), ("b", 500), ("c", 500), ("d", 5))
    assert [_num_read(reading, *one) for one in asked] == [72, 10, 10, 5]


def test_who_waits_for_answers_is_never_refused() -> None:
    """A thousand callers keep any loop busy; their next requests come as their answers go."""
    clock = _Clock()
    reading = Reading(clock)
    assert _num_read(reading, "a", 1_000) == 1_000
    for num_answered in (90, 110, 80, 150, 100):
        _second(reading, clock, 0.8)
        _ended(reading, "a", count=num_answered)
        assert _num_read(reading, "a", num_answered) == num_answered


def test_when_nothing_was_answered_one_of_each_is_read() -> None:
    clock = _Clock()
    reading = Reading(clock)
    reading.request("a", Scope.SCORE).__enter__()
    _second(reading, clock, 5.0)
    _second(reading, clock, 5.0)
    assert [_num_read(reading, tenant, 50) for tenant in "ab"] == [1, 1]


def test_it_holds_for_a_second_and_is_over_then() -> None:
    clock = _Clock()
    reading = Reading(clock)
    _second(reading, clock, 0.3)
    _second(reading, clock, 0.3)
    reading.lagged(0.0)
    clock.now += 0.5
    reading.request("a", Scope.SCORE).__enter__()
    with pytest.raises(Overloaded) as refused:
        reading.request("a", Scope.SCORE).__enter__()
    assert refused.value.retry_after_ms == 1000
    clock.now += 0.6
    assert _num_read(reading, "a", 100) == 100


@pytest.mark.parametrize("scope", [None, Scope.ADMIN, Scope.READ])
def test_what_asks_for_no_scores_is_always_read_and_buys_none(scope: Scope | None) -> None:
    clock = _Clock()
    reading = Reading(clock)
    reading.request("a", Scope.SCORE).__enter__()
    _second(reading, clock, 0.3)
    for _ in range(3):
        _second(reading, clock, 0.3)
        for _ in range(50):
            with reading.request("a", scope):
                pass
        assert _num_read(reading, "a", 50) == 1


def test_who_waits_for_answers_is_read_after_a_second_without_any() -> None:
    """64 callers of a service that stood still, or made its kernels first."""
    clock = _Clock()
    reading = Reading(clock)
    assert _num_read(reading, "a", 64) == 64
    for _ in range(3):
        _second(reading, clock, 0.8)
        _num_read(reading, "probe", 1)
    for _ in range(64):
        _ended(reading, "a")
        assert _num_read(reading, "a", 1) == 1


@pytest.mark.parametrize("failed", [None, InvalidInput])
def test_where_nothing_was_read_in_vain_all_is_read(failed: type[Exception] | None) -> None:
    """A thousand callers at once, while the first kernels are made: all find room."""
    clock = _Clock()
    reading = Reading(clock)
    for _ in range(3):
        _second(reading, clock, 0.8, failed)
        assert _num_read(reading, "a", 1_000) == 1_000


@pytest.mark.parametrize("failed", [Overloaded, DeadlineExceeded])
def test_what_found_no_room_or_came_too_late_was_read_in_vain(failed: type[Exception]) -> None:
    clock = _Clock()
    reading = Reading(clock)
    for _ in range(3):
        _second(reading, clock, 0.8, failed)
    assert _num_read(reading, "a", 1_000) == 1
