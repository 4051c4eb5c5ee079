"""Run the handler of one call to its status."""

import asyncio
import inspect
import logging
from typing import Any

import grpc

from guerdon_service.core.errors import DeadlineExceeded, GuerdonError, NotReady
from guerdon_service.rpc.http2.call import RpcCall
from guerdon_service.rpc.http2.messages import Refused

Handler = Any
"""What `grpc.unary_unary_rpc_method_handler` and its like make."""

_LOG = logging.getLogger(__name__)


async def run(call: RpcCall, handler: Handler) -> None:
    """Whatever happens, the call ends with one status, unless its caller is gone."""
    try:
        await _answer(call, handler)
    except (Refused, GuerdonError) as refused:
        call.refuse(refused)
    except asyncio.CancelledError:
        end_cancelled(call)
    except Exception:
        _LOG.exception("call failed")
        call.end(grpc.StatusCode.UNKNOWN, "the service failed; its log has the details")


def end_cancelled(call: RpcCall) -> None:
    """Tell the caller, if nothing was told, why nobody works for him any more."""
    if call.is_expired:
        call.refuse(DeadlineExceeded("the deadline passed before the answer was ready"))
    else:
        call.refuse(NotReady("the service stops; ask another replica"))


async def _answer(call: RpcCall, handler: Handler) -> None:
    call.serialize_by(handler.response_serializer or bytes)
    read = handler.request_deserializer
    if handler.request_streaming:
        asked: Any = _parsed(call, read) if read else call
    else:
        data = call.only_message()
        asked = _message(read, data) if read else data
    if not handler.response_streaming:
        method = handler.stream_unary if handler.request_streaming else handler.unary_unary
        await call.reply(await method(asked, call))
        return
    method = handler.stream_stream if handler.request_streaming else handler.unary_stream
    sent = method(asked, call)
    if inspect.isasyncgen(sent):
        async for message in sent:
            await call.write(message)
    else:
        await sent
    call.end_ok()


async def _parsed(call: RpcCall, read: Any) -> Any:
    async for data in call:
        yield _message(read, data)
        call.answered(len(data))


def _message(read: Any, data: bytes) -> Any:
    try:
        return read(data)
    except Exception:  # each kind of message has its own
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be parsed; send its proto"
        ) from None
