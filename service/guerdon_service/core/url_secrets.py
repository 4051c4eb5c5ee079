"""What a URL may hide: credentials, and a signed query."""

import re

_URL = re.compile(r"://\S*")
_BEFORE_SECRET = re.compile(r"://(?=[^/?#@:]*[@:])")
"""Where credentials begin, if an ``@`` comes later: passwords may have any character in them as it is."""
_BEFORE_SURE_SECRET = re.compile(r"://(?=[^/?#@:]*(?:@|:(?!\d{1,5}/)))")
"""The same where no port can stand: a path after one may have an ``@`` too."""


def has_credentials(url: str) -> bool:
    """Whether it has any, or what looks like them; a port and a path with an ``@`` do not."""
    return _before_secret(url, _BEFORE_SURE_SECRET) is not None


def without_secrets(text: str) -> str:
    """`text` whose URLs have neither. Takes time in proportion to its length, whatever it says."""
    return _URL.sub(lambda found: _plain(found[0]), text)


def _before_secret(url: str, before: re.Pattern[str] = _BEFORE_SECRET) -> re.Match[str] | None:
    return before.search(url, 0, url.rfind("@") + 1)


def _plain(url: str) -> str:
    before = _before_secret(url)
    if before is not None:
        hidden, _, host = url[before.end() :].rpartition("@")
        url = f"{url[: before.end()]}...@{'...' if '?' in hidden else host}"
    plain, mark, _ = url.partition("?")
    return f"{plain}?..." if mark else plain
