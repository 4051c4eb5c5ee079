"""The turns that two versions take while their latency is measured; the clock is the test's."""

from guerdon_service.registry.evidence import Latency
from guerdon_service.registry.probe import ROUNDS, paired_rounds


class Machine:
    """Two models and a clock that they alone move, by a tick more with each request."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asked: list[str] = []

    def clock(self) -> float:
        return self.now_s

    async def candidate(self) -> None:
        self._answer("candidate")

    async def incumbent(self) -> None:
        self._answer("incumbent")

    def _answer(self, name: str) -> None:
        self.asked.append(name)
        self.now_s += len(self.asked)


async def test_each_goes_first_in_every_other_round_and_keeps_its_own_seconds() -> None:
    machine = Machine()
    found = await paired_rounds(machine.candidate, machine.incumbent, machine.clock)
    turns = ["candidate", "incumbent", "incumbent", "candidate"]
    assert machine.asked == turns * (ROUNDS // 2) and ROUNDS % 2 == 0
    seconds = list(enumerate(machine.asked, start=1))
    assert found == Latency(
        *(tuple(float(s) for s, who in seconds if who == name) for name in ("candidate", "incumbent"))
    )
    assert sum(found.candidate_s) == sum(found.incumbent_s)
