"""SGLang's routes as verl and scorers read them. No activation is ever applied."""

from guerdon_service.core.errors import GuerdonError
from guerdon_service.dialects.markup import of_text
from guerdon_service.dialects.ranked import responses_to
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.relevance import read_model, refuse
from guerdon_service.rest.dialects.vllm import encoded, error_type, read_texts
from guerdon_service.rest.fields import read_text

_REFUSED = {
    "label_token_ids": "a reward model has one head and no labels, leave it out",
    "apply_softmax": "it would make every reward 1, leave it out",
    "item_first": "the items are the responses, leave it out",
    "dimensions": "a reward is one number, leave it out",
}


async def embeddings(ask: Ask) -> object:
    """``{model, input}`` to ``data[i].embedding``, one number each."""
    fields = ask.fields()
    refuse(fields, _REFUSED)
    texts = read_texts(fields, "input", ask.asked.limits)
    items = [of_text(text, f"input[{i}]") for i, text in enumerate(texts)]
    result = await ask.score(items, read_model(fields))
    data = [
        {"object": "embedding", "index": i, "embedding": encoded(fields, score.reward)}
        for i, score in enumerate(result.scores)
    ]
    tokens = result.usage.num_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": result.model.name, "usage": usage}


async def score(ask: Ask) -> object:
    """``{query, items, model}`` to ``scores``, a list of one number for each item."""
    fields = ask.fields()
    refuse(fields, _REFUSED)
    query, limits = read_text(fields, "query"), ask.asked.limits
    items = responses_to(query, read_texts(fields, "items", limits), limits, ("query", "items"))
    result = await ask.score(items, read_model(fields))
    tokens = result.usage.num_tokens
    return {
        "scores": [[score.reward] for score in result.scores],
        "model": result.model.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "object": "scoring",
    }


def error(error: GuerdonError, status: int, message: str) -> object:
    """Flat: ``{object, message, type, param, code}``."""
    return {
        "object": "error",
        "message": message,
        "type": error_type(status),
        "param": error.param,
        "code": status,
    }


SGLANG = Dialect(
    (DialectRoute("POST", "/v1/embeddings", embeddings), DialectRoute("POST", "/v1/score", score)), error
)
