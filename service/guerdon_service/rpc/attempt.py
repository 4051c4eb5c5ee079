"""One guarded, measured piece of work: its reply, or the error to tell the caller."""

import asyncio
import logging
from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from guerdon_service.core.call import trace_id
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.scorer import TransportObserver

R = TypeVar("R")

_UNEXPECTED = GuerdonError("the service failed; its log has the details under this call's x-request-id")
_LOG = logging.getLogger(__name__)


async def attempt(
    work: Awaitable[R],
    verb: str,
    request_id: str,
    observer: TransportObserver,
    traceparent: str | None = None,
) -> R | GuerdonError:
    """Await `work`; what is not a `GuerdonError` is our own bug, logged and told as ``internal``."""
    started = perf_counter()
    code, trace = "ok", trace_id(traceparent, request_id)
    try:
        with observer.under_way("grpc", trace):
            return await work
    except GuerdonError as error:
        code = error.code
        return error
    except asyncio.CancelledError:
        code = "cancelled"
        raise
    except Exception:
        code = _UNEXPECTED.code
        _LOG.exception("call failed", extra={"request_id": request_id})
        return _UNEXPECTED
    finally:
        seconds = perf_counter() - started
        observer.request(verb, "grpc", code, seconds, request_id=request_id, trace_id=trace)
