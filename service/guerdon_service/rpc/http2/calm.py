"""How much a peer may send that asks for nothing."""

from collections.abc import Callable

from guerdon_service.rpc.http2.frames import Code, ConnectionFault

BURST = 4000
PER_CALL = 4
"""Frames that each call, and each piece of one, earns: acknowledgements, windows, pings."""
PER_S = 200.0


class Calm:
    """A budget of one connection, in frames. Floods of PING, SETTINGS, empty DATA or CONTINUATION use it up,
    and so, of another, do header blocks that take as long to read.

    Args:
        now: monotonic seconds.
        debt: frames beyond it, which cost the peer what it asks and not yet the connection.
    """

    def __init__(self, now: Callable[[], float], debt: int = 0) -> None:
        self._now, self._left, self._filled, self._debt = now, float(BURST), now(), debt

    def earn(self) -> None:
        """Something useful came."""
        if self._left < BURST:
            self._left += PER_CALL

    def spend(self, num_frames: int = 1) -> bool:
        """Something came that asks for nothing, or as much as so many frames of that; is it in budget?

        Raises:
            ConnectionFault: too much of it.
        """
        self._left -= num_frames
        if self._left >= 0:
            return True
        now = self._now()
        self._left += min(BURST, (now - self._filled) * PER_S)
        self._filled = now
        if self._left < -self._debt:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too much that asks for nothing")
        return self._left >= 0
