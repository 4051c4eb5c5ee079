from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Message(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

class ScoreItem(_message.Message):
    __slots__ = ("prompt", "messages", "response")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    response: str
    def __init__(self, prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., response: _Optional[str] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("model", "profile", "items", "lane", "deadline_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    profile: str
    items: _containers.RepeatedCompositeFieldContainer[ScoreItem]
    lane: str
    deadline_ms: int
    def __init__(self, model: _Optional[str] = ..., profile: _Optional[str] = ..., items: _Optional[_Iterable[_Union[ScoreItem, _Mapping]]] = ..., lane: _Optional[str] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "version", "digest", "profile", "backend", "dtype")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    profile: str
    backend: str
    dtype: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., profile: _Optional[str] = ..., backend: _Optional[str] = ..., dtype: _Optional[str] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("reward", "attributes", "raw", "std", "tokens", "truncated", "cached")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class RawEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REWARD_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    reward: float
    attributes: _containers.ScalarMap[str, float]
    raw: _containers.ScalarMap[str, float]
    std: float
    tokens: int
    truncated: bool
    cached: bool
    def __init__(self, reward: _Optional[float] = ..., attributes: _Optional[_Mapping[str, float]] = ..., raw: _Optional[_Mapping[str, float]] = ..., std: _Optional[float] = ..., tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., cached: _Optional[bool] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("items", "tokens", "cached", "tokenize_ms", "queue_ms", "forward_ms", "total_ms")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    items: int
    tokens: int
    cached: int
    tokenize_ms: float
    queue_ms: float
    forward_ms: float
    total_ms: float
    def __init__(self, items: _Optional[int] = ..., tokens: _Optional[int] = ..., cached: _Optional[int] = ..., tokenize_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., forward_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("model", "scores", "usage", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    scores: _containers.RepeatedCompositeFieldContainer[Score]
    usage: Usage
    request_id: str
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., scores: _Optional[_Iterable[_Union[Score, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "param", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PARAM_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    param: str
    retry_after_ms: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., param: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class ScoreStreamRequest(_message.Message):
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    request: ScoreRequest
    def __init__(self, id: _Optional[str] = ..., request: _Optional[_Union[ScoreRequest, _Mapping]] = ...) -> None: ...

class ScoreStreamResponse(_message.Message):
    __slots__ = ("id", "response", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    response: ScoreResponse
    error: Error
    def __init__(self, id: _Optional[str] = ..., response: _Optional[_Union[ScoreResponse, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Pair(_message.Message):
    __slots__ = ("prompt", "messages", "a", "b")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    a: str
    b: str
    def __init__(self, prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., a: _Optional[str] = ..., b: _Optional[str] = ...) -> None: ...

class CompareRequest(_message.Message):
    __slots__ = ("model", "profile", "pairs", "lane", "deadline_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    profile: str
    pairs: _containers.RepeatedCompositeFieldContainer[Pair]
    lane: str
    deadline_ms: int
    def __init__(self, model: _Optional[str] = ..., profile: _Optional[str] = ..., pairs: _Optional[_Iterable[_Union[Pair, _Mapping]]] = ..., lane: _Optional[str] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class Preference(_message.Message):
    __slots__ = ("p_a", "low", "high", "margin", "preferred", "a", "b")
    P_A_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_FIELD_NUMBER: _ClassVar[int]
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    p_a: float
    low: float
    high: float
    margin: float
    preferred: str
    a: Score
    b: Score
    def __init__(self, p_a: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., margin: _Optional[float] = ..., preferred: _Optional[str] = ..., a: _Optional[_Union[Score, _Mapping]] = ..., b: _Optional[_Union[Score, _Mapping]] = ...) -> None: ...

class CompareResponse(_message.Message):
    __slots__ = ("model", "preferences", "usage", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    preferences: _containers.RepeatedCompositeFieldContainer[Preference]
    usage: Usage
    request_id: str
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., preferences: _Optional[_Iterable[_Union[Preference, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("model", "profile", "prompt", "messages", "candidates", "top_k", "lane", "deadline_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    profile: str
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    candidates: _containers.RepeatedScalarFieldContainer[str]
    top_k: int
    lane: str
    deadline_ms: int
    def __init__(self, model: _Optional[str] = ..., profile: _Optional[str] = ..., prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., candidates: _Optional[_Iterable[str]] = ..., top_k: _Optional[int] = ..., lane: _Optional[str] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class RankedCandidate(_message.Message):
    __slots__ = ("index", "reward", "p_best", "std", "score")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    P_BEST_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    index: int
    reward: float
    p_best: float
    std: float
    score: Score
    def __init__(self, index: _Optional[int] = ..., reward: _Optional[float] = ..., p_best: _Optional[float] = ..., std: _Optional[float] = ..., score: _Optional[_Union[Score, _Mapping]] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("model", "results", "usage", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    results: _containers.RepeatedCompositeFieldContainer[RankedCandidate]
    usage: Usage
    request_id: str
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., results: _Optional[_Iterable[_Union[RankedCandidate, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "digest", "backend", "dtype", "heads", "profiles", "max_tokens", "state", "default", "inferred", "certificate", "aliases")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    INFERRED_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    backend: str
    dtype: str
    heads: _containers.RepeatedScalarFieldContainer[str]
    profiles: _containers.RepeatedScalarFieldContainer[str]
    max_tokens: int
    state: str
    default: bool
    inferred: _containers.RepeatedScalarFieldContainer[str]
    certificate: _containers.RepeatedCompositeFieldContainer[Check]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., backend: _Optional[str] = ..., dtype: _Optional[str] = ..., heads: _Optional[_Iterable[str]] = ..., profiles: _Optional[_Iterable[str]] = ..., max_tokens: _Optional[int] = ..., state: _Optional[str] = ..., default: _Optional[bool] = ..., inferred: _Optional[_Iterable[str]] = ..., certificate: _Optional[_Iterable[_Union[Check, _Mapping]]] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("name", "passed", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    passed: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., passed: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...

class BestOfNRequest(_message.Message):
    __slots__ = ("policy", "model", "profile", "prompt", "messages", "n", "max_tokens", "temperature", "top_p", "seed", "conservatism", "choice_temperature", "min_margin", "patience", "deadline_ms")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CONSERVATISM_FIELD_NUMBER: _ClassVar[int]
    CHOICE_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    MIN_MARGIN_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    model: str
    profile: str
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    n: int
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    conservatism: float
    choice_temperature: float
    min_margin: float
    patience: int
    deadline_ms: int
    def __init__(self, policy: _Optional[str] = ..., model: _Optional[str] = ..., profile: _Optional[str] = ..., prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., n: _Optional[int] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ..., conservatism: _Optional[float] = ..., choice_temperature: _Optional[float] = ..., min_margin: _Optional[float] = ..., patience: _Optional[int] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("index", "response", "finish_reason", "score", "duplicate_of")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_OF_FIELD_NUMBER: _ClassVar[int]
    index: int
    response: str
    finish_reason: str
    score: Score
    duplicate_of: int
    def __init__(self, index: _Optional[int] = ..., response: _Optional[str] = ..., finish_reason: _Optional[str] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., duplicate_of: _Optional[int] = ...) -> None: ...

class BestOfNResponse(_message.Message):
    __slots__ = ("policy", "model", "best", "candidates", "abstained", "partial", "stopped_early", "kl_upper_bound", "expected_win_rate", "total_ms", "request_id")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    ABSTAINED_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    STOPPED_EARLY_FIELD_NUMBER: _ClassVar[int]
    KL_UPPER_BOUND_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    policy: str
    model: ModelRef
    best: int
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    abstained: bool
    partial: bool
    stopped_early: bool
    kl_upper_bound: float
    expected_win_rate: float
    total_ms: float
    request_id: str
    def __init__(self, policy: _Optional[str] = ..., model: _Optional[_Union[ModelRef, _Mapping]] = ..., best: _Optional[int] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., abstained: _Optional[bool] = ..., partial: _Optional[bool] = ..., stopped_early: _Optional[bool] = ..., kl_upper_bound: _Optional[float] = ..., expected_win_rate: _Optional[float] = ..., total_ms: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class BestOfNEvent(_message.Message):
    __slots__ = ("candidate", "result")
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    candidate: Candidate
    result: BestOfNResponse
    def __init__(self, candidate: _Optional[_Union[Candidate, _Mapping]] = ..., result: _Optional[_Union[BestOfNResponse, _Mapping]] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, policies: _Optional[_Iterable[str]] = ...) -> None: ...

class AddDatasetRequest(_message.Message):
    __slots__ = ("name", "records")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    records: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., records: _Optional[_Iterable[str]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("name", "sha256", "num_items")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    num_items: int
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., num_items: _Optional[int] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("candidate", "baseline", "dataset", "profile", "margin", "id", "robustness")
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ROBUSTNESS_FIELD_NUMBER: _ClassVar[int]
    candidate: str
    baseline: str
    dataset: str
    profile: str
    margin: float
    id: str
    robustness: int
    def __init__(self, candidate: _Optional[str] = ..., baseline: _Optional[str] = ..., dataset: _Optional[str] = ..., profile: _Optional[str] = ..., margin: _Optional[float] = ..., id: _Optional[str] = ..., robustness: _Optional[int] = ...) -> None: ...

class ListEvaluationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListEvaluationsResponse(_message.Message):
    __slots__ = ("evaluations",)
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    def __init__(self, evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ...) -> None: ...

class GetEvaluationReportRequest(_message.Message):
    __slots__ = ("id", "format")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    id: str
    format: str
    def __init__(self, id: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class GetEvaluationReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: str
    def __init__(self, report: _Optional[str] = ...) -> None: ...

class CancelEvaluationRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("id", "state", "candidate", "candidate_digest", "baseline", "baseline_digest", "dataset", "dataset_sha256", "done", "total", "created_at", "error", "accuracy", "verdict", "delta", "report_json", "num_items")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    DATASET_SHA256_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    REPORT_JSON_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    candidate: str
    candidate_digest: str
    baseline: str
    baseline_digest: str
    dataset: str
    dataset_sha256: str
    done: int
    total: int
    created_at: float
    error: str
    accuracy: Interval
    verdict: str
    delta: Interval
    report_json: str
    num_items: int
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., candidate: _Optional[str] = ..., candidate_digest: _Optional[str] = ..., baseline: _Optional[str] = ..., baseline_digest: _Optional[str] = ..., dataset: _Optional[str] = ..., dataset_sha256: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., created_at: _Optional[float] = ..., error: _Optional[str] = ..., accuracy: _Optional[_Union[Interval, _Mapping]] = ..., verdict: _Optional[str] = ..., delta: _Optional[_Union[Interval, _Mapping]] = ..., report_json: _Optional[str] = ..., num_items: _Optional[int] = ...) -> None: ...

class PolicyPrompt(_message.Message):
    __slots__ = ("prompt", "messages", "baseline_response")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    baseline_response: str
    def __init__(self, prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., baseline_response: _Optional[str] = ...) -> None: ...

class EvaluatePolicyRequest(_message.Message):
    __slots__ = ("policies", "prompts", "n", "max_tokens", "temperature", "top_p", "seed", "baseline", "reference", "model", "profile", "gold", "judge")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    GOLD_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedScalarFieldContainer[str]
    prompts: _containers.RepeatedCompositeFieldContainer[PolicyPrompt]
    n: int
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    baseline: str
    reference: str
    model: str
    profile: str
    gold: str
    judge: str
    def __init__(self, policies: _Optional[_Iterable[str]] = ..., prompts: _Optional[_Iterable[_Union[PolicyPrompt, _Mapping]]] = ..., n: _Optional[int] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ..., baseline: _Optional[str] = ..., reference: _Optional[str] = ..., model: _Optional[str] = ..., profile: _Optional[str] = ..., gold: _Optional[str] = ..., judge: _Optional[str] = ...) -> None: ...

class PolicyEvaluationProgress(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class WinRate(_message.Message):
    __slots__ = ("raw", "length_controlled", "length_effect")
    RAW_FIELD_NUMBER: _ClassVar[int]
    LENGTH_CONTROLLED_FIELD_NUMBER: _ClassVar[int]
    LENGTH_EFFECT_FIELD_NUMBER: _ClassVar[int]
    raw: Interval
    length_controlled: Interval
    length_effect: float
    def __init__(self, raw: _Optional[_Union[Interval, _Mapping]] = ..., length_controlled: _Optional[_Union[Interval, _Mapping]] = ..., length_effect: _Optional[float] = ...) -> None: ...

class JudgedWinRate(_message.Message):
    __slots__ = ("win_rate", "flip_rate", "position_effect", "num_asked", "num_undecided")
    WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    FLIP_RATE_FIELD_NUMBER: _ClassVar[int]
    POSITION_EFFECT_FIELD_NUMBER: _ClassVar[int]
    NUM_ASKED_FIELD_NUMBER: _ClassVar[int]
    NUM_UNDECIDED_FIELD_NUMBER: _ClassVar[int]
    win_rate: WinRate
    flip_rate: Interval
    position_effect: Interval
    num_asked: int
    num_undecided: int
    def __init__(self, win_rate: _Optional[_Union[WinRate, _Mapping]] = ..., flip_rate: _Optional[_Union[Interval, _Mapping]] = ..., position_effect: _Optional[_Union[Interval, _Mapping]] = ..., num_asked: _Optional[int] = ..., num_undecided: _Optional[int] = ...) -> None: ...

class Kl(_message.Message):
    __slots__ = ("k1", "k3")
    K1_FIELD_NUMBER: _ClassVar[int]
    K3_FIELD_NUMBER: _ClassVar[int]
    k1: Interval
    k3: Interval
    def __init__(self, k1: _Optional[_Union[Interval, _Mapping]] = ..., k3: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class BestOfNRow(_message.Message):
    __slots__ = ("n", "kl_upper_bound", "proxy", "gold", "gold_gain")
    N_FIELD_NUMBER: _ClassVar[int]
    KL_UPPER_BOUND_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    GOLD_FIELD_NUMBER: _ClassVar[int]
    GOLD_GAIN_FIELD_NUMBER: _ClassVar[int]
    n: int
    kl_upper_bound: float
    proxy: Interval
    gold: Interval
    gold_gain: Interval
    def __init__(self, n: _Optional[int] = ..., kl_upper_bound: _Optional[float] = ..., proxy: _Optional[_Union[Interval, _Mapping]] = ..., gold: _Optional[_Union[Interval, _Mapping]] = ..., gold_gain: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class PolicyReport(_message.Message):
    __slots__ = ("policy", "digest", "reward", "gold_reward", "reward_variance", "mean_chars", "mean_tokens", "ended_rate", "unscored_rate", "win_rate", "gold_win_rate", "judged", "kl", "kl_absent", "best_of_n", "reward_gain", "gold_gain")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    GOLD_REWARD_FIELD_NUMBER: _ClassVar[int]
    REWARD_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    MEAN_CHARS_FIELD_NUMBER: _ClassVar[int]
    MEAN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ENDED_RATE_FIELD_NUMBER: _ClassVar[int]
    UNSCORED_RATE_FIELD_NUMBER: _ClassVar[int]
    WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    GOLD_WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    KL_FIELD_NUMBER: _ClassVar[int]
    KL_ABSENT_FIELD_NUMBER: _ClassVar[int]
    BEST_OF_N_FIELD_NUMBER: _ClassVar[int]
    REWARD_GAIN_FIELD_NUMBER: _ClassVar[int]
    GOLD_GAIN_FIELD_NUMBER: _ClassVar[int]
    policy: str
    digest: str
    reward: Interval
    gold_reward: Interval
    reward_variance: float
    mean_chars: float
    mean_tokens: float
    ended_rate: float
    unscored_rate: float
    win_rate: WinRate
    gold_win_rate: WinRate
    judged: JudgedWinRate
    kl: Kl
    kl_absent: str
    best_of_n: _containers.RepeatedCompositeFieldContainer[BestOfNRow]
    reward_gain: Interval
    gold_gain: Interval
    def __init__(self, policy: _Optional[str] = ..., digest: _Optional[str] = ..., reward: _Optional[_Union[Interval, _Mapping]] = ..., gold_reward: _Optional[_Union[Interval, _Mapping]] = ..., reward_variance: _Optional[float] = ..., mean_chars: _Optional[float] = ..., mean_tokens: _Optional[float] = ..., ended_rate: _Optional[float] = ..., unscored_rate: _Optional[float] = ..., win_rate: _Optional[_Union[WinRate, _Mapping]] = ..., gold_win_rate: _Optional[_Union[WinRate, _Mapping]] = ..., judged: _Optional[_Union[JudgedWinRate, _Mapping]] = ..., kl: _Optional[_Union[Kl, _Mapping]] = ..., kl_absent: _Optional[str] = ..., best_of_n: _Optional[_Iterable[_Union[BestOfNRow, _Mapping]]] = ..., reward_gain: _Optional[_Union[Interval, _Mapping]] = ..., gold_gain: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class OverOptimisationPoint(_message.Message):
    __slots__ = ("policy", "kl", "proxy", "gold", "proxy_change", "gold_change", "over_optimised")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    KL_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    GOLD_FIELD_NUMBER: _ClassVar[int]
    PROXY_CHANGE_FIELD_NUMBER: _ClassVar[int]
    GOLD_CHANGE_FIELD_NUMBER: _ClassVar[int]
    OVER_OPTIMISED_FIELD_NUMBER: _ClassVar[int]
    policy: str
    kl: Interval
    proxy: Interval
    gold: Interval
    proxy_change: Interval
    gold_change: Interval
    over_optimised: bool
    def __init__(self, policy: _Optional[str] = ..., kl: _Optional[_Union[Interval, _Mapping]] = ..., proxy: _Optional[_Union[Interval, _Mapping]] = ..., gold: _Optional[_Union[Interval, _Mapping]] = ..., proxy_change: _Optional[_Union[Interval, _Mapping]] = ..., gold_change: _Optional[_Union[Interval, _Mapping]] = ..., over_optimised: _Optional[bool] = ...) -> None: ...

class PolicyEvaluation(_message.Message):
    __slots__ = ("model", "gold", "baseline", "reference", "judge", "baseline_reward", "num_prompts", "n", "seed", "policies", "over_optimisation", "total_ms", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GOLD_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_REWARD_FIELD_NUMBER: _ClassVar[int]
    NUM_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    OVER_OPTIMISATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    gold: ModelRef
    baseline: str
    reference: str
    judge: str
    baseline_reward: Interval
    num_prompts: int
    n: int
    seed: int
    policies: _containers.RepeatedCompositeFieldContainer[PolicyReport]
    over_optimisation: _containers.RepeatedCompositeFieldContainer[OverOptimisationPoint]
    total_ms: float
    request_id: str
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., gold: _Optional[_Union[ModelRef, _Mapping]] = ..., baseline: _Optional[str] = ..., reference: _Optional[str] = ..., judge: _Optional[str] = ..., baseline_reward: _Optional[_Union[Interval, _Mapping]] = ..., num_prompts: _Optional[int] = ..., n: _Optional[int] = ..., seed: _Optional[int] = ..., policies: _Optional[_Iterable[_Union[PolicyReport, _Mapping]]] = ..., over_optimisation: _Optional[_Iterable[_Union[OverOptimisationPoint, _Mapping]]] = ..., total_ms: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class EvaluatePolicyEvent(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: PolicyEvaluationProgress
    result: PolicyEvaluation
    def __init__(self, progress: _Optional[_Union[PolicyEvaluationProgress, _Mapping]] = ..., result: _Optional[_Union[PolicyEvaluation, _Mapping]] = ...) -> None: ...

class RegisterModelRequest(_message.Message):
    __slots__ = ("name", "source")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "version", "digest", "kind", "source", "registered_by", "registered_at", "parents_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_BY_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    PARENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    kind: str
    source: str
    registered_by: str
    registered_at: float
    parents_json: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., kind: _Optional[str] = ..., source: _Optional[str] = ..., registered_by: _Optional[str] = ..., registered_at: _Optional[float] = ..., parents_json: _Optional[str] = ...) -> None: ...

class ListRegisteredModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRegisteredModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[RegisteredModel]
    def __init__(self, models: _Optional[_Iterable[_Union[RegisteredModel, _Mapping]]] = ...) -> None: ...

class RegisteredModel(_message.Message):
    __slots__ = ("name", "kind", "aliases")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    aliases: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., aliases: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetModelHistoryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ModelHistory(_message.Message):
    __slots__ = ("name", "versions", "aliases", "changes")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    aliases: _containers.ScalarMap[str, str]
    changes: _containers.RepeatedCompositeFieldContainer[AliasChange]
    def __init__(self, name: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., aliases: _Optional[_Mapping[str, str]] = ..., changes: _Optional[_Iterable[_Union[AliasChange, _Mapping]]] = ...) -> None: ...

class GetModelCardRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelCard(_message.Message):
    __slots__ = ("card",)
    CARD_FIELD_NUMBER: _ClassVar[int]
    card: str
    def __init__(self, card: _Optional[str] = ...) -> None: ...

class GateCheck(_message.Message):
    __slots__ = ("name", "passed", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    passed: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., passed: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...

class AliasChange(_message.Message):
    __slots__ = ("name", "alias", "action", "previous", "version", "by", "at", "reason", "evaluation_id", "checks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    action: str
    previous: str
    version: str
    by: str
    at: float
    reason: str
    evaluation_id: str
    checks: _containers.RepeatedCompositeFieldContainer[GateCheck]
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., action: _Optional[str] = ..., previous: _Optional[str] = ..., version: _Optional[str] = ..., by: _Optional[str] = ..., at: _Optional[float] = ..., reason: _Optional[str] = ..., evaluation_id: _Optional[str] = ..., checks: _Optional[_Iterable[_Union[GateCheck, _Mapping]]] = ...) -> None: ...

class PromoteModelRequest(_message.Message):
    __slots__ = ("name", "version", "alias", "evaluation_id", "override_reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_ID_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    alias: str
    evaluation_id: str
    override_reason: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., alias: _Optional[str] = ..., evaluation_id: _Optional[str] = ..., override_reason: _Optional[str] = ...) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("name", "alias", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RemoveAliasRequest(_message.Message):
    __slots__ = ("name", "alias", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SubmitFeedbackRequest(_message.Message):
    __slots__ = ("id", "prompt", "messages", "chosen", "rejected", "tie", "annotator", "tags", "shown", "model")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    TIE_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    chosen: str
    rejected: str
    tie: bool
    annotator: str
    tags: _containers.ScalarMap[str, str]
    shown: _containers.RepeatedScalarFieldContainer[str]
    model: str
    def __init__(self, id: _Optional[str] = ..., prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., chosen: _Optional[str] = ..., rejected: _Optional[str] = ..., tie: _Optional[bool] = ..., annotator: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., shown: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ...) -> None: ...

class SubmitFeedbackResponse(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetAgreementRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Agreement(_message.Message):
    __slots__ = ("num_questions", "alpha", "accuracy", "num_judgements")
    class AccuracyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class NumJudgementsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NUM_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    NUM_JUDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    num_questions: int
    alpha: Interval
    accuracy: _containers.ScalarMap[str, float]
    num_judgements: _containers.ScalarMap[str, int]
    def __init__(self, num_questions: _Optional[int] = ..., alpha: _Optional[_Union[Interval, _Mapping]] = ..., accuracy: _Optional[_Mapping[str, float]] = ..., num_judgements: _Optional[_Mapping[str, int]] = ...) -> None: ...
