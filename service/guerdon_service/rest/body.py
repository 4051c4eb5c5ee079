"""The body of a request: bounded while it arrives, then strictly parsed."""

from starlette.requests import ClientDisconnect, Request

from guerdon_service.core.errors import PayloadTooLarge, UnsupportedMedia
from guerdon_service.core.limits import Limits
from guerdon_service.rest.header import header


async def read_body(request: Request, limits: Limits) -> bytes:
    """All of the body, which is JSON.

    Raises:
        UnsupportedMedia: it does not say that it is JSON.
        PayloadTooLarge: see `read_bytes`.
    """
    _check_media_type(header(request.scope, b"content-type") or "")
    return await read_bytes(request, limits)


async def read_bytes(request: Request, limits: Limits) -> bytes:
    """All of the body.

    Raises:
        PayloadTooLarge: it is, or says that it is, over `limits.max_body_bytes`; no more than that and
            one chunk is ever held.
        ClientDisconnect: the client left first.
    """
    declared = header(request.scope, b"content-length") or ""
    if declared.isdecimal() and int(declared) > limits.max_body_bytes:
        raise _too_large(limits)
    chunks, num_bytes, has_more = [], 0, True
    while has_more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, has_more = message.get("body", b""), message.get("more_body", False)
        num_bytes += len(chunk)
        if num_bytes > limits.max_body_bytes:
            raise _too_large(limits)
        chunks.append(chunk)
    return b"".join(chunks)


def _check_media_type(content_type: str) -> None:
    if content_type == "application/json":  # as nearly all say
        return
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "").removeprefix("charset=")
    if media_type.strip() != "application/json" or charset not in ("", "utf-8"):
        raise UnsupportedMedia(
            f"content-type is {content_type!r}; send application/json in UTF-8", param="content-type"
        )


def _too_large(limits: Limits) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"body is over {limits.max_body_bytes} bytes; send fewer items per request", param="body"
    )
