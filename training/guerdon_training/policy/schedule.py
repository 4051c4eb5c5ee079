"""Learning rate as a pure function of the step, so that a resumed run needs no state for it."""

from math import cos, pi


def learning_rate_factor(step: int, num_steps: int, warmup_share: float, schedule: str) -> float:
    """Share of the peak learning rate at update `step` (0 to num_steps - 1).

    Linear from near 0 over the warm-up, then ``cosine`` (Loshchilov and Hutter, arXiv 1608.03983, without
    restarts), ``linear`` or ``constant``. The first two reach 0 one step after the last.
    """
    warmup = round(warmup_share * num_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = 1.0 - (step - warmup) / (num_steps - warmup)
    if schedule == "constant":
        return 1.0
    return left if schedule == "linear" else 0.5 * (1.0 + cos(pi * (1.0 - left)))
