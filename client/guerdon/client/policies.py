"""What callers give about policies, and one request whose progress they are told."""

from collections.abc import Callable, Iterable
from contextlib import aclosing

from guerdon.client.encode import Wire, encode_prompt, encode_text
from guerdon.client.retry import Deadline, retrying
from guerdon.client.sender import Sender
from guerdon.client.silence import Silent, next_part
from guerdon.errors import DeadlineExceeded, GuerdonError, InvalidInput, InvalidReply
from guerdon.transport import Payload
from guerdon.types import PolicyPrompt, Prompt

LONGEST_S = 7 * 86_400.0
"""Of one evaluation, in seconds; its silence is bounded much tighter."""


def encode_policy_prompts(prompts: Iterable[PolicyPrompt | Prompt]) -> list[Wire]:
    """Prompts of ``/v1/policy-evaluations``.

    Raises:
        InvalidInput: a single string, or a prompt of the wrong type.
    """
    if isinstance(prompts, str):
        raise InvalidInput("prompts is a single string; give a list of prompts", param="prompts")
    return [_prompt(prompt, f"prompts[{i}]") for i, prompt in enumerate(prompts)]


async def evaluate_policy(
    sender: Sender, payload: Payload, on_progress: Callable[[Payload], object] | None
) -> Payload:
    """The result. It takes as long as it takes, but not `sender.timeout_s` without news; not retried once a
    step was done.

    Raises:
        DeadlineExceeded: nothing was heard for `sender.timeout_s`.
        GuerdonError: what the service answered.
    """

    given = {name: value for name, value in payload.items() if value is not None}

    async def attempt(left_s: float) -> Payload:
        num_done = 0
        result: Payload | None = None
        try:
            async with aclosing(sender.transport.stream("evaluate_policy", given, None)) as parts:
                while (part := await next_part(parts, sender.timeout_s)) is not None:
                    result = part.get("result", result)  # read on: what ends by itself needs no closing
                    if "progress" not in part:
                        continue
                    num_done = part["progress"]["done"]
                    if on_progress is not None:
                        on_progress(part["progress"])
        except Silent:
            if result is None:
                raise DeadlineExceeded(
                    f"no news within {sender.timeout_s:.3g} s; give a longer timeout_s", param="timeout_s"
                ) from None
        except GuerdonError as err:
            if result is None:
                err.retryable = err.retryable and not num_done
                raise
        if result is not None:
            return result
        raise InvalidReply("the answer ended before its result; ask again")

    return await retrying(attempt, sender.policy, Deadline(None, LONGEST_S), sender.clock)


def _prompt(prompt: PolicyPrompt | Prompt, param: str) -> Wire:
    given = prompt if isinstance(prompt, PolicyPrompt) else PolicyPrompt(prompt)
    wire, response = encode_prompt(given.prompt, param), given.baseline_response
    if response is not None:
        wire["baseline_response"] = encode_text(response, f"{param}.baseline_response")
    return wire
