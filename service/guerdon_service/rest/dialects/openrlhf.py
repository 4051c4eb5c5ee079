"""OpenRLHF's remote reward model, as its client (0.11) behaves.

One sample a request, fired concurrently; with several URLs all but one get empty lists. Special tokens stand
in ``query``. The client retries everything after one second, five times, so a full queue holds it.
"""

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.dialects.markup import of_continued
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.fields import Fields, read_list, read_string


async def get_reward(ask: Ask) -> object:
    """``{query: [..], prompts?: [..], labels?: [..]}`` to ``{rewards, scores, extra_logs}``."""
    fields = ask.fields()
    limits = ask.asked.limits
    queries = read_list(fields, "query", read_string, limits=limits)
    prompts = _prompts(fields, len(queries), limits)
    if not queries:
        return {"rewards": [], "scores": [], "extra_logs": {}}
    items = [
        of_continued(query, prompt, f"query[{i}]")
        for i, (query, prompt) in enumerate(zip(queries, prompts, strict=True))
    ]
    scores = (await ask.score(items, None)).scores
    rewards = [score.reward for score in scores]
    logs = {
        "reward_std": [score.std for score in scores],
        "truncated": [float(score.truncated) for score in scores],
    }
    return {"rewards": rewards, "scores": rewards, "extra_logs": logs}


def _prompts(fields: Fields, count: int, limits: Limits) -> list[str | None]:
    if not fields.get("prompts"):
        return [None] * count
    prompts: list[str | None] = list(read_list(fields, "prompts", read_string, limits=limits))
    if len(prompts) != count:
        raise InvalidInput(
            f"prompts holds {len(prompts)} entries and query {count}; send one prompt per query",
            param="prompts",
        )
    return prompts


def detail(error: GuerdonError, status: int, message: str) -> object:
    """``{detail}``, as servers on FastAPI answer."""
    return {"detail": message}


OPENRLHF = Dialect((DialectRoute("POST", "/get_reward", get_reward),), detail, bad_input_status=422)
