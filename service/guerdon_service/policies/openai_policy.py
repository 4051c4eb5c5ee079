"""A policy behind any OpenAI-compatible URL, such as an inference engine's ``/v1``."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import BackendFailed, InvalidInput, Overloaded
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.policies.completion import Completion
from guerdon_service.policies.retry_after import retry_after_ms

_LOG = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 5.0
_BLAMES_REQUEST = (400, 413, 422)
"""Statuses that blame the request; what we send is well-formed, so the prompt or a number does not fit."""


class OpenAIPolicy:
    """`core.generation.Policy` over ``POST {url}/chat/completions`` with `n` and `seed`.

    Whether equal seeds give equal responses is up to the engine. It tells the number of tokens only in sum,
    so `Generated.num_tokens` is 0 for what was streamed or is one of several.

    Args:
        url: with its ``/v1``.
        model: name of the model there.
        api_key: sent as a bearer token; empty sends none.
        stream: take candidates as they finish; without it they come all at once, or not at all.
        stall_timeout_s: longest wait for the next byte.
    """

    def __init__(
        self,
        name: str,
        url: str,
        model: str,
        *,
        api_key: str = "",
        stream: bool = True,
        stall_timeout_s: float = 60.0,
    ) -> None:
        self.name = name
        self.digest = ""
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._model = model
        self._stream = stream
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(stall_timeout_s, connect=_CONNECT_TIMEOUT_S)
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout)

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        """See `Policy.generate`."""
        completion = Completion(n)
        body = self._body(prompt, n, params)
        try:
            async with self._client.stream("POST", self._url, json=body) as response:
                await self._check(response)
                async for generated in self._read(response, completion):
                    yield generated
        except httpx.TimeoutException:
            raise self._failed("sent nothing in time") from None
        except httpx.HTTPError as err:
            raise self._failed(f"could not be read to the end ({type(err).__name__})") from None
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise self._failed(f"sent what is no chat completion ({type(err).__name__})") from None
        if completion.num_missing:
            raise self._failed(f"gave {n - completion.num_missing} of {n} responses")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _body(self, prompt: tuple[Message, ...], n: int, params: SamplingParams) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt],
            "n": n,
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed,
            "stream": self._stream,
        }

    async def _read(self, response: httpx.Response, completion: Completion) -> AsyncIterator[Generated]:
        if not self._stream:
            for generated in completion.whole(json.loads(await response.aread())):
                yield generated
            return
        async for line in _lines(response.aiter_bytes()):  # server-sent events, one JSON object each
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            if line.startswith(b"data:"):
                for generated in completion.piece(json.loads(data)):
                    yield generated

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        # Its words may quote the prompt, which no log of ours may hold; the engine has a log of its own.
        _LOG.warning("policy refused", extra={"policy": self.name, "status": response.status_code})
        if response.status_code in _BLAMES_REQUEST:
            raise InvalidInput(
                f"policy {self.name} refused the request ({response.status_code}); shorten the prompt, or "
                "ask for fewer max_tokens or a smaller n; the log of its engine says which",
                param="prompt",
            )
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise Overloaded(
                f"policy {self.name} has too many requests; ask again",
                retry_after_ms=retry_after_ms(response.headers),
            )
        raise self._failed(f"answered {response.status_code}")

    def _failed(self, what: str) -> BackendFailed:
        _LOG.warning("policy failed", extra={"policy": self.name, "reason": what})
        return BackendFailed(f"policy {self.name} {what}; try again, or see the log of its engine")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut at line feeds alone: in JSON a response may hold whatever else Unicode, and httpx, cut at."""
    begun = b""
    async for chunk in chunks:
        *whole, begun = (begun + chunk).split(b"\n")
        for line in whole:
            yield line
    yield begun
