"""text-embeddings-inference's gRPC services. Scores are sigmoids unless ``raw_scores`` is true."""

from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

from guerdon_protos.dialects import tei_pb2 as pb
from guerdon_service.core.errors import GuerdonError, PayloadTooLarge, TooManyItems
from guerdon_service.core.result import ScoreResult
from guerdon_service.dialects.markup import of_pair
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.dialects.ranked import Ranked, best_first, rank_texts, sigmoid
from guerdon_service.dialects.tei import LABEL, TOKENIZATION_WORKERS, as_conversation, kind_of
from guerdon_service.rpc.dialects.dialect import DialectMethod, RpcDialect, read_message

_STATUS = {
    "Overloaded": "RESOURCE_EXHAUSTED",
    "Unhealthy": "UNAVAILABLE",
    "Backend": "FAILED_PRECONDITION",
    "Validation": "INVALID_ARGUMENT",
}
_NS_PER_S = 1_000_000_000


async def info(scorer: PatientScorer, data: bytes) -> pb.InfoResponse:
    """The default model."""
    read_message(pb.InfoRequest, data)
    model, limits = scorer.default_model(), scorer.limits
    return pb.InfoResponse(
        version=version("guerdon"),
        model_id=model.name,
        model_sha=model.digest,
        model_dtype=model.dtype,
        model_type=pb.MODEL_TYPE_RERANKER,
        max_concurrent_requests=limits.max_items,
        max_input_length=model.max_tokens,
        max_batch_tokens=scorer.scorer.batch_tokens(model.name),
        max_client_batch_size=limits.max_items,
        tokenization_workers=TOKENIZATION_WORKERS,
    )


async def predict(scorer: PatientScorer, data: bytes) -> pb.PredictResponse:
    """One text, whose markup tells its turns."""
    message = read_message(pb.PredictRequest, data)
    return await _predict(scorer, [message.inputs], message.raw_scores)


async def predict_pair(scorer: PatientScorer, data: bytes) -> pb.PredictResponse:
    """One text, or a prompt and its response."""
    message = read_message(pb.PredictPairRequest, data)
    return await _predict(scorer, message.inputs, message.raw_scores)


async def rerank(scorer: PatientScorer, data: bytes) -> pb.RerankResponse:
    """Texts best first: each is a response to the query."""
    message = read_message(pb.RerankRequest, data)
    ranked, result = await rank_texts(scorer, message.query, message.texts, None, "texts")
    num_chars = len(message.query) * len(message.texts) + sum(map(len, message.texts))
    return _ranks(ranked, result, num_chars, raw=message.raw_scores, with_text=message.return_text)


async def rerank_stream(scorer: PatientScorer, stream: AsyncIterator[bytes]) -> pb.RerankResponse:
    """The same, a pair a message; the first one's switches count for all."""
    messages, num_bytes, limits = [], 0, scorer.limits
    async for data in stream:
        messages.append(read_message(pb.RerankStreamRequest, data))
        num_bytes += len(data)  # all are kept until the last: together they are one request
        if len(messages) > limits.max_items:
            raise TooManyItems(f"the stream holds more than {limits.max_items} texts; split it", param="text")
        if num_bytes > limits.max_body_bytes:
            raise PayloadTooLarge(f"the stream is over {limits.max_body_bytes} bytes; split it")
    first = messages[0] if messages else pb.RerankStreamRequest()
    items = [of_pair(m.query, m.text, f"text[{i}]") for i, m in enumerate(messages)]
    result = await scorer.score(items, None)
    ranked = best_first([m.text for m in messages], result)
    num_chars = sum(len(m.query) + len(m.text) for m in messages)
    return _ranks(ranked, result, num_chars, raw=first.raw_scores, with_text=first.return_text)


def status(error: GuerdonError) -> str:
    """What that server's statuses are, where it has one for the kind."""
    return _STATUS.get(kind_of(error), error.grpc_status)


async def _predict(scorer: PatientScorer, texts: Sequence[str], raw: bool) -> pb.PredictResponse:
    result = await scorer.score([as_conversation(texts, "inputs")], None)
    prediction = pb.Prediction(score=_value(result.scores[0].reward, raw), label=LABEL)
    return pb.PredictResponse(predictions=[prediction], metadata=_metadata(result, sum(map(len, texts))))


def _ranks(
    ranked: Sequence[Ranked], result: ScoreResult, num_chars: int, *, raw: bool, with_text: bool
) -> pb.RerankResponse:
    ranks = [
        pb.Rank(index=r.index, text=r.text if with_text else None, score=_value(r.reward, raw))
        for r in ranked
    ]
    return pb.RerankResponse(ranks=ranks, metadata=_metadata(result, num_chars))


def _value(reward: float, raw: bool) -> float:
    return reward if raw else sigmoid(reward)


def _metadata(result: ScoreResult, num_chars: int) -> pb.Metadata:
    usage = result.usage
    return pb.Metadata(
        compute_chars=num_chars,
        compute_tokens=usage.num_tokens,
        total_time_ns=round(usage.total_s * _NS_PER_S),
        tokenization_time_ns=round(usage.tokenize_s * _NS_PER_S),
        queue_time_ns=round(usage.queue_s * _NS_PER_S),
        inference_time_ns=round(usage.forward_s * _NS_PER_S),
    )


TEI = RpcDialect(
    {
        "tei.v1.Info": {"Info": DialectMethod("tei_info", info, scope=None)},
        "tei.v1.Predict": {
            "Predict": DialectMethod("tei_predict", predict),
            "PredictPair": DialectMethod("tei_predict", predict_pair),
            "PredictStream": DialectMethod("tei_predict", predict, "in_order"),
            "PredictPairStream": DialectMethod("tei_predict", predict_pair, "in_order"),
        },
        "tei.v1.Rerank": {
            "Rerank": DialectMethod("tei_rerank", rerank),
            "RerankStream": DialectMethod("tei_rerank", rerank_stream, "many_to_one"),
        },
    },
    status,
)
