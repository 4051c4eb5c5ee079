"""Watch an evaluation to its end, across lost connections and restarts of the service."""

from collections.abc import Callable
from contextlib import aclosing

from guerdon.client.decode_more import evaluation
from guerdon.client.sender import Sender
from guerdon.client.silence import Silent, next_part
from guerdon.errors import ConnectionFailed, GuerdonError
from guerdon.types import Evaluation


async def follow(
    sender: Sender, evaluation_id: str, on_progress: Callable[[Evaluation], object] | None
) -> Evaluation:
    """The evaluation once it ended.

    Each time that the stream is lost, or silent for `sender.timeout_s`, it is taken up again; retries count
    from the last news, and only news is told. Silence after an answer is no failure: an item may take long.

    Raises:
        GuerdonError: one that a retry cannot help, or the last one when no retry is left.
    """
    failures, seen = 0, None

    def hear(state: Evaluation) -> None:
        nonlocal failures, seen
        if state != seen:
            seen, failures = state, 0
            if on_progress is not None:
                on_progress(state)

    while True:
        try:
            state = await _watched(sender, evaluation_id, hear)
            if state.has_ended:
                return state
            continue
        except GuerdonError as err:
            if not err.retryable or failures == sender.policy.max_retries:
                raise
            wait_s = sender.policy.wait_s(failures, err.retry_after_s, sender.clock.random())
        failures += 1
        await sender.clock.sleep(wait_s)


async def _watched(sender: Sender, evaluation_id: str, hear: Callable[[Evaluation], object]) -> Evaluation:
    """The evaluation as one stream told of it last: at its end, or before a silence."""
    state = None
    async with aclosing(sender.transport.stream("follow_evaluation", {"id": evaluation_id}, None)) as parts:
        try:
            while (part := await next_part(parts, sender.timeout_s)) is not None:
                state = evaluation(part)
                hear(state)
                if state.has_ended:
                    return state
        except Silent:
            if state is not None:
                return state
            raise ConnectionFailed(
                f"nothing came within {sender.timeout_s:.3g} s; is the service running?"
            ) from None
    raise ConnectionFailed("the evaluation's progress ended before the evaluation; ask again")
