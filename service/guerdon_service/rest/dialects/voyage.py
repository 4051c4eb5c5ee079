"""Voyage's rerank. ``relevance_score`` is the sigmoid of the reward: its clients expect 0 to 1."""

from guerdon_service.dialects.ranked import sigmoid
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.openrlhf import detail
from guerdon_service.rest.dialects.relevance import rank_documents, read_switch


async def rerank(ask: Ask) -> object:
    """``{model, query, documents, top_k?, return_documents?}`` to ``{object, data, model, usage}``."""
    fields = ask.fields()
    with_text = read_switch(fields, ("return_documents",), default=False)
    ranked, result = await rank_documents(ask, fields, top="top_k")
    return {
        "object": "list",
        "data": [
            {"relevance_score": sigmoid(r.reward), "index": r.index}
            | ({"document": r.text} if with_text else {})
            for r in ranked
        ],
        "model": result.model.name,
        "usage": {"total_tokens": result.usage.num_tokens},
    }


VOYAGE = Dialect((DialectRoute("POST", "/v1/rerank", rerank),), detail)
