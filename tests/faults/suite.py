"""Every fault."""

from tests.faults import (
    backend_faults,
    engine_process_faults,
    model_faults,
    process_faults,
    redis_faults,
    state_faults,
    wire_faults,
)
from tests.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *redis_faults.FAULTS,
    *state_faults.FAULTS,
    *backend_faults.FAULTS,
    *engine_process_faults.FAULTS,
    *model_faults.FAULTS,
    *wire_faults.FAULTS,
    *process_faults.FAULTS,
)
