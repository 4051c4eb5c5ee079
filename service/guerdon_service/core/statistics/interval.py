"""A figure and how sure of it we are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval, 95 % unless the function that made it says otherwise."""

    value: float
    low: float
    high: float
