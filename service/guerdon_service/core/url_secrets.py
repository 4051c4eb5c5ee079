"""What a URL may hide: credentials, and a signed query."""

import re

_URL = re.compile(r"://\S*")
_BEFORE_SECRET = re.compile(r"://(?=[^/?#@:]*[@:])")
"""Where credentials begin, if an ``@`` comes later: passwords may have any character in them as it is."""


def has_credentials(url: str) -> bool:
    """Whether it has any, or what looks like them."""
    return _before_secret(url) is not None


def without_secrets(text: str) -> str:
    """`text` whose URLs have neither. Takes time in proportion to its length, whatever it says."""
    return _URL.sub(lambda found: _plain(found[0]), text)


def _before_secret(url: str) -> re.Match[str] | None:
    return _BEFORE_SECRET.search(url, 0, url.rfind("@") + 1)


def _plain(url: str) -> str:
    before = _before_secret(url)
    if before is not None:
        hidden, _, host = url[before.end() :].rpartition("@")
        url = f"{url[: before.end()]}...@{'...' if '?' in hidden else host}"
    plain, mark, _ = url.partition("?")
    return f"{plain}?..." if mark else plain
