"""The shell of a page: sections one below the other, no script, no request to anywhere, light and dark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from guerdon_training.audit.report_html import STYLE

_MORE = """
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } table { margin: .5rem 0; }
nav a { margin-right: .8rem; white-space: nowrap; }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with an id to link to, and blocks of HTML."""

    id: str
    title: str
    blocks: Sequence[str]


def page(title: str, sections: Sequence[Section]) -> str:
    """A whole HTML document."""
    links = " ".join(f'<a href="#{s.id}">{escape(s.title)}</a>' for s in sections)
    body = "".join(
        f'<section id="{s.id}"><h2>{escape(s.title)}</h2>{"".join(s.blocks)}</section>' for s in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_MORE}</style></head><body>"
        f"<h1>{escape(title)}</h1><nav>{links}</nav>{body}</body></html>\n"
    )


def paragraph(text: str) -> str:
    """Plain text, escaped; ``*word*`` is emphasised, as in Markdown."""
    emphasised = re.sub(r"[*]([^*]+)[*]", r"<em>\1</em>", escape(text))
    return f"<p>{emphasised}</p>"


def bullets(sentences: Sequence[str]) -> str:
    """A list, escaped."""
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"


def subtitle(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def plots(drawn: Sequence[str]) -> str:
    """SVGs side by side; those that had nothing to show are left out."""
    return f'<div class="plots">{"".join(drawn)}</div>'
