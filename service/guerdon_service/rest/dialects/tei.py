"""text-embeddings-inference's routes over REST. Scores are sigmoids unless ``raw_scores`` is true."""

from importlib.metadata import version

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import (
    BackendFailed,
    GuerdonError,
    InputTooLong,
    InvalidInput,
    NotReady,
    TooManyItems,
)
from guerdon_service.core.limits import check_count
from guerdon_service.dialects.ranked import sigmoid
from guerdon_service.dialects.tei import LABEL, TOKENIZATION_WORKERS, as_conversation, kind_of
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.relevance import rank_documents, read_switch
from guerdon_service.rest.fields import Fields, read_string


async def predict(ask: Ask) -> object:
    """``{inputs, raw_scores?}`` to ``[{score, label}]``, or a list of those for a batch.

    An input is a text whose markup tells its turns, or ``[prompt, response]``; a batch is a list of lists.
    The hub's client sends `parameters`, whose ``function_to_apply`` is honoured, and reads the reply as a
    batch whatever it sent.
    """
    fields = ask.fields()
    inputs, raw = fields.get("inputs"), _is_raw(fields)
    is_batch = isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], list)
    batch = inputs if isinstance(inputs, list) and is_batch else [inputs]
    check_count("inputs", len(batch), ask.asked.limits)
    items = [_item(given, f"inputs[{i}]" if is_batch else "inputs") for i, given in enumerate(batch)]
    scores = (await ask.score(items, None)).scores
    answers = [[{"score": s.reward if raw else sigmoid(s.reward), "label": LABEL}] for s in scores]
    return answers if is_batch or "parameters" in fields else answers[0]


async def rerank(ask: Ask) -> object:
    """``{query, texts, raw_scores?, return_text?}`` to ``[{index, text?, score}]``, best first."""
    fields = ask.fields()
    raw, with_text = _is_raw(fields), read_switch(fields, ("return_text",), default=False)
    ranked, _ = await rank_documents(ask, fields, documents="texts")
    return [
        {"index": r.index, "score": r.reward if raw else sigmoid(r.reward)}
        | ({"text": r.text} if with_text else {})
        for r in ranked
    ]


async def info(ask: Ask) -> object:
    """The default model. Prompts are always cut on the left, so ``auto_truncate`` is true."""
    model, limits = ask.asked.default_model(), ask.asked.limits
    return {
        "model_id": model.name,
        "model_sha": model.digest,
        "model_dtype": model.dtype,
        "model_type": {"reranker": {"id2label": {"0": LABEL}, "label2id": {LABEL: 0}}},
        "max_concurrent_requests": limits.max_items,
        "max_input_length": model.max_tokens,
        "max_batch_tokens": ask.asked.scorer.batch_tokens(model.name),
        "max_batch_requests": None,
        "max_client_batch_size": limits.max_items,
        "auto_truncate": True,
        "tokenization_workers": TOKENIZATION_WORKERS,
        "version": version("guerdon"),
        "sha": None,
        "docker_label": None,
    }


async def health(ask: Ask) -> object:
    """Whether requests can be answered."""
    if not ask.asked.scorer.is_ready():
        raise NotReady(ask.asked.scorer.unready_reason(), retry_after_ms=1000)
    return None


def error(error: GuerdonError, status: int, message: str) -> object:
    """``{error, error_type}``."""
    return {"error": message, "error_type": kind_of(error) or "Validation"}


def status_of(error: GuerdonError) -> int | None:
    """What has a status of its own there."""
    if isinstance(error, TooManyItems | InputTooLong):
        return 413
    return 424 if isinstance(error, BackendFailed) else None


def _item(given: object, path: str) -> Conversation:
    texts = given if isinstance(given, list) else [given]
    return as_conversation([read_string(text, path) for text in texts], path)


def _is_raw(fields: Fields) -> bool:
    parameters = fields.get("parameters")
    asked = parameters.get("function_to_apply") if isinstance(parameters, dict) else None
    if asked == "softmax":
        raise InvalidInput(
            "parameters.function_to_apply softmax makes every reward 1; give sigmoid or none",
            param="parameters.function_to_apply",
        )
    return asked == "none" or read_switch(fields, ("raw_scores",), default=False)


TEI = Dialect(
    (
        DialectRoute("POST", "/predict", predict),
        DialectRoute("POST", "/rerank", rerank),
        DialectRoute("GET", "/info", info, scope=None),
        DialectRoute("GET", "/health", health, scope=None, is_open=True),
    ),
    error,
    bad_input_status=422,
    own_status=status_of,
)
