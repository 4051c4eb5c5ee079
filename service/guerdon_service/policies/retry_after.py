"""When an engine that has too many requests says to ask again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

UNKNOWN_MS = 1000
"""Where it does not say, or says it in no known way."""
MOST_MS = 3_600_000
"""Whatever it says."""


def retry_after_ms(headers: Mapping[str, str]) -> int:
    """Milliseconds from now by ``Retry-After``, seconds or a date (RFC 9110, 10.2.3); an hour at most."""
    told = headers.get("retry-after", "").strip()
    try:
        left_ms = _left_ms(told)
    except (ValueError, OverflowError):  # neither, or a number of thousands of digits
        return UNKNOWN_MS
    return min(MOST_MS, max(0, left_ms))


def _left_ms(told: str) -> int:
    if told.isascii() and told.isdigit():
        return int(told) * 1000
    at = parsedate_to_datetime(told)
    return ceil((at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds() * 1000)
