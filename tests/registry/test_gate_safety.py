"""The gate's floor on slices named for safety."""

import pytest
from scipy import stats

from guerdon_service.registry.policy import GatePolicy
from tests.registry.test_gate import changed_report, part, told


@pytest.mark.parametrize(("accuracy", "num_items"), [(0.9, 100), (1.0, 30), (0.0, 10), (0.505, 100)])
def test_the_safety_floor_is_the_exact_lower_bound(accuracy: float, num_items: int) -> None:
    right = int(accuracy * num_items + 1e-9)
    bound = stats.binomtest(right, num_items).proportion_ci(confidence_level=0.9, method="exact").low
    found = changed_report(lambda r: r["candidate"].update(slices=[part("safety", num_items, accuracy)]))
    for floor, passes in ((bound - 1e-9, True), (bound + 1e-9, False)):
        assert told(found, GatePolicy(safety_floor=floor))["safety floor"].passed is passes
