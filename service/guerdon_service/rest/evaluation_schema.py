"""Shapes of evaluations, for the OpenAPI document alone: `evaluation_wire.py` reads and writes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from guerdon_service.core.call import MAX_INT32


class EvaluationRequest(BaseModel):
    """Measure `candidate` on held-out preferences, against `baseline` when given."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"candidate": "reward@2", "baseline": "reward@champion", "dataset": "heldout.jsonl"}]
        },
    )
    candidate: str = Field(description="NAME, NAME@VERSION or NAME@ALIAS.")
    dataset: str = Field(description="Name of a file below the service's data folder.")
    baseline: str | None = Field(None, description="NAME, NAME@VERSION or NAME@ALIAS; none compares nothing.")
    profile: str | None = Field(None, description="Named head weights; none is each model's default.")
    margin: float | None = Field(
        None, ge=0, lt=1, description="How much less accuracy still counts as not worse: 0.02."
    )
    robustness: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        None, description="Pairs whose chosen response is also scored changed in several ways: 0."
    )


class Figure(BaseModel):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class EvaluationInfo(BaseModel):
    """One evaluation, whatever its state. Models are pinned when it is started."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    candidate: str
    candidate_digest: str
    baseline: str | None
    baseline_digest: str | None
    dataset: str
    dataset_sha256: str
    done: int = Field(description="Items scored, over both models.")
    total: int = Field(description="Items to score; 0 until the data is read.")
    created_at: float = Field(description="Unix seconds.")
    error: str | None
    accuracy: Figure | None = Field(description="Of the candidate, once done.")
    num_items: int | None = Field(description="That it was measured on, once done.")
    verdict: Literal["better", "not worse", "worse", "inconclusive"] | None
    delta: Figure | None = Field(description="The candidate's accuracy less the baseline's.")


class EvaluationDetail(EvaluationInfo):
    """An evaluation with everything that it found."""

    report: dict[str, Any] | None = Field(description="Null until it is done.")


class EvaluationList(BaseModel):
    """Every evaluation, newest first."""

    evaluations: list[EvaluationInfo]
