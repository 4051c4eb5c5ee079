"""Run one verb over a file: read, send a few batches at a time, write in order, continue after a kill."""

import asyncio
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Any, Generic, TypeVar

from guerdon.cli.output import Errors, Output, Record
from guerdon.client import AsyncClient
from guerdon.client.one_version import OneVersion
from guerdon.errors import BackendFailed, GuerdonError, InvalidInput, PayloadTooLarge
from guerdon.types import Lane, ModelRef

R = TypeVar("R")
Ask = Callable[[Sequence[R]], Awaitable[list[Record]]]
"""One answer to each request of a batch."""

CONCURRENCY = 4
"""Batches in flight: enough to keep the service busy, few enough to leave it to others."""
MANY = 8
"""Records of one batch that do not all fail by themselves: fewer may be what is left over at a file's end."""
CALL_PARAMS = ("model", "profile", "lane", "deadline_ms")
"""Params of errors that no record is to blame for."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every record is asked with."""

    model: str | None
    profile: str | None
    lane: Lane


@dataclass(frozen=True, slots=True)
class Verb(Generic[R]):
    """What a bulk command does with records.

    parse: fields of one record to a request; raises `InvalidInput`.
    send: requests to the model that answered and one JSON-ready answer each.
    batch_size: requests that are sent, and written, together.
    """

    name: str
    parse: Callable[[dict[str, Any]], R]
    send: Callable[[AsyncClient, Sequence[R], Options], Awaitable[tuple[ModelRef, list[Record]]]]
    batch_size: int


@dataclass(frozen=True, slots=True)
class Parsed(Generic[R]):
    """One input line: what its output line begins with, and its request or why there is none."""

    head: Record
    request: R | GuerdonError


async def run_bulk(
    verb: Verb[R],
    client: AsyncClient,
    options: Options,
    lines: Iterable[tuple[int, bytes]],
    output: Output,
    advance: Callable[[int], object],
) -> Errors:
    """Answer every line that `output` does not hold yet; the error records, those that it holds included.

    Args:
        advance: is told how many records were just written.

    Raises:
        GuerdonError: one that concerns no single record; all before it is written.
    """
    todo = (parse_line(verb, i, line) for i, line in lines if i not in output.done)
    running: deque[asyncio.Task[list[Record]]] = deque()
    ask = _asker(verb, client, options, output)
    errors = output.errors
    try:
        while True:
            while len(running) < CONCURRENCY and (batch := list(islice(todo, verb.batch_size))):
                running.append(asyncio.create_task(_answer(ask, batch)))
            if not running:
                return errors
            records = await running[0]
            running.popleft()
            output.write(records)
            errors = errors.plus(records)
            advance(len(records))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def parse_line(verb: Verb[R], index: int, line: bytes) -> Parsed[R]:
    """Read one line; what is wrong with it stays with it."""
    head: Record = {"index": index}
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise InvalidInput("the line is not a JSON object")
        if "id" in fields:
            json.dumps(fields["id"], allow_nan=False)  # NaN and 1e999 can be read, but not be written
            head["id"] = fields["id"]
        given = {name: value for name, value in fields.items() if value is not None}
        return Parsed(head, verb.parse(given))
    except GuerdonError as err:
        return Parsed(head, err)
    except (ValueError, RecursionError) as err:
        return Parsed(head, InvalidInput(f"the line is not JSON: {err}"))


def _asker(verb: Verb[R], client: AsyncClient, options: Options, output: Output) -> Ask[R]:
    """Asks for the version that `output` has results of already, or whichever answers first."""
    version: OneVersion[tuple[ModelRef, list[Record]]] = OneVersion(
        options.model, itemgetter(0), output.model
    )

    async def ask(requests: Sequence[R]) -> list[Record]:
        model, answers = await version.ask(
            lambda name: verb.send(client, requests, replace(options, model=name))
        )
        output.check_model(model)
        return answers

    return ask


async def _answer(ask: Ask[R], batch: Sequence[Parsed[R]]) -> list[Record]:
    found = await _isolated(ask, [p.request for p in batch if not isinstance(p.request, GuerdonError)])
    _check_not_down(found, batch)
    answers = iter(found)
    told = (p.request if isinstance(p.request, GuerdonError) else next(answers) for p in batch)
    return [
        p.head | (_error(answer) if isinstance(answer, GuerdonError) else answer)
        for p, answer in zip(batch, told, strict=True)
    ]


async def _isolated(ask: Ask[R], requests: Sequence[R]) -> list[Record | GuerdonError]:
    """One answer or error each; a batch refused for one of its records is halved until that stands alone."""
    if not requests:
        return []
    try:
        return list(await ask(requests))
    except (InvalidInput, PayloadTooLarge, BackendFailed) as err:
        if err.param in CALL_PARAMS:
            raise
        if len(requests) == 1:
            return [err]
        half = len(requests) // 2
        return await _isolated(ask, requests[:half]) + await _isolated(ask, requests[half:])


def _check_not_down(found: Sequence[Record | GuerdonError], batch: Sequence[Parsed[R]]) -> None:
    """No record is to blame where the back end failed on each of many.

    Raises:
        BackendFailed: it did.
    """
    failed = [answer for answer in found if isinstance(answer, BackendFailed)]
    if len(failed) == len(found) >= MANY:
        first, last = (parsed.head["index"] + 1 for parsed in (batch[0], batch[-1]))
        raise BackendFailed(
            f"every record of a batch failed, so that none is to blame (lines {first} to {last}: "
            f"{failed[0].message}); run it again when the service is well"
        )


def _error(err: GuerdonError) -> Record:
    """The error without the batch's own numbering: ``items[0].response`` is the record's ``response``."""
    strip = re.compile(r"\b(?:items|pairs)\[0\]\.|\brecord\.")
    param = None if err.param is None else strip.sub("", err.param)
    return {"error": {"code": err.code, "message": strip.sub("", err.message), "param": param}}
