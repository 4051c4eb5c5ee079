"""Jina's rerank. ``relevance_score`` is the sigmoid of the reward: its clients expect 0 to 1."""

from guerdon_service.dialects.ranked import sigmoid
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.openrlhf import detail
from guerdon_service.rest.dialects.relevance import rank_documents, read_switch


async def rerank(ask: Ask) -> object:
    """``{model, query, documents, top_n?, return_documents?}`` to ``{model, usage, results}``, best first."""
    fields = ask.fields()
    with_text = read_switch(fields, ("return_documents",), default=True)
    ranked, result = await rank_documents(ask, fields)
    tokens = result.usage.num_tokens
    return {
        "model": result.model.name,
        "object": "list",
        "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
        "results": [
            {"index": r.index, "relevance_score": sigmoid(r.reward)}
            | ({"document": {"text": r.text}} if with_text else {})
            for r in ranked
        ],
    }


JINA = Dialect((DialectRoute("POST", "/v1/rerank", rerank),), detail, bad_input_status=422)
