"""Cohere's rerank, version 2. ``relevance_score`` is the sigmoid of the reward: its clients expect 0 to 1."""

from guerdon_service.core.errors import GuerdonError
from guerdon_service.dialects.ranked import sigmoid
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.relevance import rank_documents, refuse

_REFUSED = {"relevant_spans": "a reward is of a whole response, leave it out"}


async def rerank(ask: Ask) -> object:
    """``{model, query, documents, top_n?}`` to ``{id, results, meta}``, best first."""
    fields = ask.fields()
    refuse(fields, _REFUSED)
    ranked, result = await rank_documents(ask, fields)
    return {
        "id": ask.asked.call.request_id,
        "results": [{"index": r.index, "relevance_score": sigmoid(r.reward)} for r in ranked],
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": result.usage.num_tokens},
        },
    }


def error(error: GuerdonError, status: int, message: str) -> object:
    """``{message}``."""
    return {"message": message}


COHERE = Dialect((DialectRoute("POST", "/v2/rerank", rerank),), error)
