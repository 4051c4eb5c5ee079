"""When an engine that has too many requests says to ask again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

UNKNOWN_MS = 1000
"""Where it does not say, or says it in no known way."""


def retry_after_ms(headers: Mapping[str, str]) -> int:
    """Milliseconds from now, by ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3)."""
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return int(told) * 1000
    try:
        at = parsedate_to_datetime(told)
    except ValueError:
        return UNKNOWN_MS
    left_s = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0, ceil(left_s * 1000))
