"""What callers give and get. Frozen; field names equal the wire's. Times ``_ms`` are milliseconds, ``_s`` and
``_at`` seconds."""

from guerdon.types.best_of_n import BestOfNResult, Candidate
from guerdon.types.dataset import Dataset
from guerdon.types.evaluation import Evaluation, Interval, ReportFormat
from guerdon.types.feedback import Agreement
from guerdon.types.policy_evaluation import (
    BestOfNRow,
    JudgedWinRate,
    Kl,
    OverOptimisationPoint,
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyPrompt,
    PolicyReport,
    WinRate,
)
from guerdon.types.registry import AliasChange, GateCheck, ModelHistory, ModelVersion, RegisteredModel
from guerdon.types.scoring import (
    CompareResult,
    Item,
    Lane,
    Message,
    ModelInfo,
    ModelRef,
    Pair,
    Preference,
    Prompt,
    RankedCandidate,
    RankResult,
    Score,
    ScoreResult,
    Usage,
)

__all__ = [
    "Agreement",
    "AliasChange",
    "BestOfNResult",
    "BestOfNRow",
    "Candidate",
    "CompareResult",
    "Dataset",
    "Evaluation",
    "GateCheck",
    "Interval",
    "Item",
    "JudgedWinRate",
    "Kl",
    "Lane",
    "Message",
    "ModelHistory",
    "ModelInfo",
    "ModelRef",
    "ModelVersion",
    "OverOptimisationPoint",
    "Pair",
    "PolicyEvaluation",
    "PolicyEvaluationProgress",
    "PolicyPrompt",
    "PolicyReport",
    "Preference",
    "Prompt",
    "RankResult",
    "RankedCandidate",
    "RegisteredModel",
    "ReportFormat",
    "Score",
    "ScoreResult",
    "Usage",
    "WinRate",
]
