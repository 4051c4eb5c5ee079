"""A stored figure with its interval, as cards and the command line write it."""

from collections.abc import Mapping


def interval_text(found: Mapping[str, float]) -> str:
    """``value [low, high]`` to three places, of a figure as `manifest.metrics` has it."""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
