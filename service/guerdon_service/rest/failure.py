"""Every failure, the framework's own included, as the one error body."""

from math import ceil

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from guerdon_service.core.errors import GuerdonError
from guerdon_service.rest.render import render_error

_FRAMEWORK_CODES = {404: "not_found", 405: "method_not_allowed"}


def error_response(error: GuerdonError) -> Response:
    """The response of `error`."""
    body = render_error(error.code, error.message, error.param, error.retry_after_ms)
    return Response(body, error.http_status, error_headers(error), "application/json")


def error_headers(error: GuerdonError) -> dict[str, str]:
    """Where a retry can help, when, in whole seconds rounded up."""
    headers = {}
    if error.retry_after_ms is not None:
        headers["retry-after"] = str(ceil(error.retry_after_ms / 1000))
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def http_exception_response(request: Request, error: HTTPException) -> Response:
    """What the router raises (404, 405) in the same shape."""
    code = _FRAMEWORK_CODES.get(error.status_code, "http_error")
    message = f"{request.method} {request.url.path}: {error.detail}; /openapi.json lists the routes"
    headers = {"allow": _allowed(request)} if error.status_code == 405 else error.headers
    return Response(render_error(code, message, None, None), error.status_code, headers, "application/json")


def _allowed(request: Request) -> str:
    """Every method of the path; the router tells those of the first route that it finds there."""
    matching = [r for r in request.app.routes if r.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted({method for route in matching for method in route.methods}))
