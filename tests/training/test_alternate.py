"""Two sides in turn, and what is told of them."""

from collections.abc import Callable

from guerdon_training.alternate import Rate, Speeds, alternate


def test_they_take_turns_and_what_is_made_ready_is_apart_from_the_work() -> None:
    done: list[str] = []

    def side(name: str) -> Callable[[int], Callable[[], int]]:
        def ready(number: int) -> Callable[[], int]:
            done.append(f"{name}{number} ready")

            def work() -> int:
                done.append(f"{name}{number}")
                return sum(range(20_000)) % 7 + 1

            return work

        return ready

    speeds = alternate(side("a"), side("b"), 2)
    assert done == [f"{name}{number}{what}" for number in (1, 2) for name in "ab" for what in (" ready", "")]
    assert len(speeds.ours) == len(speeds.plain) == 2
    assert min(rate for r in (*speeds.ours, *speeds.plain) for rate in (r.cpu, r.wall)) > 0


def test_the_ratio_is_of_each_round_by_cpu_time() -> None:
    speeds = Speeds((Rate(6.0, 2.0), Rate(8.0, 3.0), Rate(9.0, 7.0)), (Rate(2.0, 9.0),) * 3)
    assert speeds.ratios == [3.0, 4.0, 4.5]
    assert speeds.text("ours", "plain", "tokens") == (
        "ours: 8.0 tokens per CPU second, 3.0 per second\n"
        "plain: 2.0 tokens per CPU second, 9.0 per second\n"
        "4.00 times [3.00, 4.50] by CPU time\n"
    )
