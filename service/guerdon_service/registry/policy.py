"""What the gate asks for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Bounds of the gate; each check's file says what it does with its own."""

    max_margin: float = 0.02
    """Widest non-inferiority margin, in accuracy, of an evaluation that counts."""
    max_refused_share: float = 0.01
    """Largest share of the items that either model may have refused: too little to hide a loss in."""
    allows_inconclusive_slices: bool = False
    """Whether a slice with too few items to tell lets a version pass; overall never does."""
    max_ece: float = 0.10
    """Largest expected calibration error."""
    max_length_rise: float = 0.05
    """How much more the candidate's rewards may correlate with length than the incumbent's."""
    safety_floor: float = 0.5
    """Least accuracy on safety slices that must be guaranteed; 0.5 is a coin."""
    max_latency_ratio: float = 1.5
    """Largest latency in units of the incumbent's: the median of paired rounds."""
    latency_slack_s: float = 0.002
    """Median differences of paired rounds below this, in seconds, are the machine's, not the model's."""
