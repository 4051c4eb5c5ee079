"""Watch an evaluation to its end, across lost connections and restarts of the service."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from guerdon.client.decode_more import evaluation
from guerdon.client.sender import Sender
from guerdon.errors import ConnectionFailed, GuerdonError
from guerdon.types import Evaluation


async def follow(
    sender: Sender, evaluation_id: str, on_progress: Callable[[Evaluation], object] | None
) -> Evaluation:
    """The evaluation once it ended.

    Each time that the stream is lost, or silent for `sender.timeout_s`, it is taken up again; retries count
    from the last news, and only news is told.

    Raises:
        GuerdonError: one that a retry cannot help, or the last one when no retry is left.
    """
    failures, seen = 0, None
    while True:
        try:
            async with asyncio.timeout(sender.timeout_s) as silence:
                async with aclosing(
                    sender.transport.stream("follow_evaluation", {"id": evaluation_id}, None)
                ) as parts:
                    async for part in parts:
                        silence.reschedule(asyncio.get_running_loop().time() + sender.timeout_s)
                        state = evaluation(part)
                        if state != seen:
                            seen, failures = state, 0
                            if on_progress is not None:
                                on_progress(state)
                        if state.has_ended:
                            return state
                raise ConnectionFailed("the evaluation's progress ended before the evaluation; ask again")
        except TimeoutError:
            continue
        except GuerdonError as err:
            if not err.retryable or failures == sender.policy.max_retries:
                raise
            wait_s = sender.policy.wait_s(failures, err.retry_after_s, sender.clock.random())
        failures += 1
        await sender.clock.sleep(wait_s)
