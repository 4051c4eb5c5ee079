"""slime's and miles' remote reward: the reply *is* the reward."""

from guerdon_service.core.conversation import Conversation
from guerdon_service.dialects.markup import of_pair, without_end
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.openrlhf import detail
from guerdon_service.rest.fields import read_text, read_turns


async def reward(ask: Ask) -> object:
    """``{prompt, response, label}`` to a number; `prompt` is text, or a list of messages."""
    fields = ask.fields()
    response = read_text(fields, "response")
    prompt = fields.get("prompt")
    if isinstance(prompt, list):
        item = Conversation(read_turns({"messages": prompt}, ""), without_end(response))
    else:
        item = of_pair(read_text(fields, "prompt"), response, "response")
    return (await ask.score([item], None)).scores[0].reward


SLIME = Dialect((DialectRoute("POST", "/reward", reward),), detail, bad_input_status=422)
