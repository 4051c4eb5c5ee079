"""The breaker, by an injected clock."""

from guerdon_service.cache.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def opened() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(max_failures=3, backoff_s=1.0, clock=clock)
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()
    return breaker, clock


def test_only_failures_in_a_row_open_it() -> None:
    breaker = Breaker(max_failures=3, clock=Clock())
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.allow()
    assert not breaker.is_open


def test_open_holds_calls_back_until_the_back_off_is_over() -> None:
    breaker, clock = opened()
    assert breaker.is_open
    clock.now_s += 0.999
    assert not breaker.allow()
    clock.now_s += 0.001
    assert breaker.allow()


def test_half_open_lets_one_probe_through() -> None:
    breaker, clock = opened()
    clock.now_s += 1
    assert [breaker.allow() for _ in range(4)] == [True, False, False, False]


def test_a_good_probe_closes_and_a_bad_one_waits_again() -> None:
    breaker, clock = opened()
    clock.now_s += 1
    assert breaker.allow()
    clock.now_s += 0.5
    breaker.failed()
    clock.now_s += 0.75
    assert not breaker.allow()
    clock.now_s += 0.25
    assert breaker.allow()
    breaker.succeeded()
    assert not breaker.is_open
    assert [breaker.allow() for _ in range(3)] == [True] * 3


def test_a_probe_that_never_reports_blocks_nothing() -> None:
    breaker, clock = opened()
    clock.now_s += 1
    assert breaker.allow()
    clock.now_s += 1
    assert breaker.allow()
