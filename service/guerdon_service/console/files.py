"""The console's files under ``/console/``; all else passes."""

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
HEADERS = {
    # What the page shows comes from callers and models, and its key opens the API: no script but its own
    # files runs, no string ever becomes markup (trusted types), and nothing is asked of another host.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # asked for again each time, and answered 304: an upgrade shows at once
}

_MOVED = {"/": "console/", "/console": "console/", "/docs": "console/#/api"}
"""Where these are; relative, so that it also holds behind a proxy that strips a prefix."""


@dataclass(frozen=True, slots=True)
class File:
    """One file, as it is sent."""

    content: bytes
    media_type: str
    etag: str


def read_files(folder: Path = STATIC) -> dict[str, File]:
    """Every file below `folder` by its path there; ``""`` is the page."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): _read(path) for path in paths}
    return files | {"": files["index.html"]}


def _read(path: Path) -> File:
    content = path.read_bytes()
    media_type = {".js": "text/javascript"}.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return File(content, media_type or "application/octet-stream", f'"{sha256(content).hexdigest()[:32]}"')


@dataclass(frozen=True, slots=True)
class Console:
    """ASGI middleware around the whole app.

    The files hold no secret, and a browser has no key before it has them, so none is asked for: what the page
    does, it does through the REST API with the key that its user types in. That key goes into a header, never
    into a cookie, so no other site can make a browser send it (no cross-site request forgery).
    """

    app: ASGIApp
    files: Mapping[str, File] = field(default_factory=read_files)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD of ``/``, of ``/console`` and its files, and of ``/docs``, a page of it."""
        response = self._response(scope) if scope["type"] == "http" else None
        await (response or self.app)(scope, receive, send)

    def _response(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return None
        if (page := _MOVED.get(scope["path"])) is not None:
            return RedirectResponse(page, 308, HEADERS)
        is_below = scope["path"].startswith("/console/")
        file = self.files.get(scope["path"].removeprefix("/console/")) if is_below else None
        if file is None:
            return None
        headers = HEADERS | {"etag": file.etag}
        if file.etag in Headers(scope=scope).get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.media_type)
