"""A chat template whose clock stands still: one rule, shared by training and serving."""

import re
from datetime import date

from guerdon_service.core.errors import InvalidInput

TEMPLATE_DATE = date(2024, 7, 26)
"""What `strftime_now` tells a template instead of today: a score must not change at midnight. It is the date
that Llama 3's own template falls back to where it has no clock."""

_CLOCK = re.compile(r"""strftime_now\(\s*(["'])(?P<format>[^"'\\]*)\1\s*\)""")


def stop_clock(template: str) -> str:
    """The template with `TEMPLATE_DATE` in place of every call of ``strftime_now``.

    Raises:
        InvalidInput: it passes something other than a plain string, so the date cannot be fixed.
    """
    stopped = _CLOCK.sub(lambda call: repr(TEMPLATE_DATE.strftime(call["format"])), template)
    if re.search(r"strftime_now\s*\(", stopped):
        raise InvalidInput(
            "the chat template passes strftime_now something other than a plain string, so its date cannot "
            "be fixed and scores would change with the day; write the date out in the template",
            param="manifest.template",
        )
    return stopped
