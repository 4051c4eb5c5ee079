"""A policy inside the service: a causal language model on this machine's CPU or GPU."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import torch

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import BackendFailed, GuerdonError, InvalidInput, NotReady
from guerdon_service.core.generation import Generated, SamplingParams, TokenLogProbs
from guerdon_service.core.policy_files import PolicyFiles
from guerdon_service.policies.causal_lm import CausalLM, load_causal_lm
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.decode import Sampled, decode
from guerdon_service.policies.draw import uniforms
from guerdon_service.policies.logprobs import response_logprobs

_LOG = logging.getLogger(__name__)

_Put = Callable[[Generated | GuerdonError | None], None]


class TransformersPolicy:
    """`core.generation.Policy` over `decode`. Its one thread answers one prompt after the other.

    Candidate i is a pure function of (digest, dtype, prompt, params, i): not of n, nor of the others. On a
    CPU that holds bit for bit in float32; elsewhere the kernels may differ with the size of the batch, and a
    draw that falls on the border between two tokens may then differ too.
    """

    def __init__(self, name: str, digest: str, lm: CausalLM) -> None:
        self.name = name
        self.digest = digest
        self.lm = lm
        self._closed = Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"guerdon-policy-{name}")

    @classmethod
    def load(
        cls, name: str, files: PolicyFiles, dtype: str = "float32", device: str = "cpu"
    ) -> "TransformersPolicy":
        """Load the weights; blocks.

        Raises:
            InvalidInput: see `load_causal_lm`.
        """
        return cls(name, files.digest, load_causal_lm(files, dtype, device))

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        """See `Policy.generate`."""
        self._check_open()
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Generated | GuerdonError | None] = asyncio.Queue()
        stop = Event()

        def put(item: Generated | GuerdonError | None) -> None:
            if not stop.is_set():  # else the loop may be gone
                loop.call_soon_threadsafe(queue.put_nowait, item)

        self._thread.submit(self._work, prompt, n, params, put, stop)
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, GuerdonError):
                    raise item
                yield item
        finally:
            stop.set()

    async def logprobs(
        self, prompt: tuple[Message, ...], responses: Sequence[Generated]
    ) -> list[TokenLogProbs]:
        """See `LogProbs.logprobs`; a caller who leaves stops the work after the response at hand."""
        self._check_open()
        stop = Event()

        def work() -> list[TokenLogProbs]:
            ids = encode_prompt(self.lm.tokenizer, prompt)
            found: list[TokenLogProbs] = []
            for response in responses:
                self._check_open()
                if stop.is_set():
                    break
                found.append(response_logprobs(self.lm, ids, response))
            return found

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError as err:  # of torch, such as no memory left
            _LOG.exception("reading responses failed", extra={"policy": self.name})
            raise BackendFailed(f"policy {self.name} failed while reading; see the service's log") from err
        finally:
            stop.set()

    async def close(self) -> None:
        """Stop what is being generated and free the thread."""
        self._closed.set()
        await asyncio.to_thread(self._thread.shutdown)

    def _work(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams, put: _Put, stop: Event
    ) -> None:
        """In the policy's thread: everything goes out through `put`, None last."""
        try:
            self._decode(prompt, n, params, put, stop)
        except GuerdonError as err:
            put(err)
        except Exception:
            _LOG.exception("generation failed", extra={"policy": self.name})
            put(BackendFailed(f"policy {self.name} failed while generating; see the service's log"))
        put(None)

    def _decode(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams, put: _Put, stop: Event
    ) -> None:
        if stop.is_set():
            return
        ids = self._encode(prompt, params.max_tokens)
        greedy = params.temperature == 0.0  # all n are the same response
        rows = range(1 if greedy else n)
        noise = torch.stack([uniforms(params.seed, row, params.max_tokens) for row in rows])
        steps = decode(
            self.lm.model,
            ids,
            noise,
            temperature=params.temperature,
            top_p=params.top_p,
            ends=self.lm.ends,
        )
        with closing(steps):  # type: ignore[type-var]
            for finished in steps:
                for sampled in finished:
                    for index in range(n) if greedy else (sampled.row,):
                        put(self._generated(index, sampled))
                if stop.is_set():
                    return
                self._check_open()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise NotReady(f"policy {self.name} is closed; ask another replica")

    def _encode(self, prompt: tuple[Message, ...], max_tokens: int) -> list[int]:
        ids = encode_prompt(self.lm.tokenizer, prompt)
        if len(ids) + max_tokens > self.lm.context:
            raise InvalidInput(
                f"the prompt of {len(ids)} tokens and max_tokens of {max_tokens} exceed the context of "
                f"policy {self.name}, {self.lm.context} tokens; shorten one of them",
                param="max_tokens",
            )
        return ids

    def _generated(self, index: int, sampled: Sampled) -> Generated:
        tokens = sampled.tokens[:-1] if sampled.ended else sampled.tokens
        text = self.lm.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        end = sampled.tokens[-1] if sampled.ended else None
        return Generated(index, text, len(sampled.tokens), "length" if end is None else "stop", end)
