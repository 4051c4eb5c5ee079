"""Shapes of data sets, for the OpenAPI document alone: `dataset.py` reads and writes them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class DatasetRequest(BaseModel):
    """Records to keep as a file of the data folder."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "sums.jsonl",
                    "records": [{"prompt": "What is 2 + 2?", "chosen": "4.", "rejected": "5."}],
                }
            ]
        },
    )
    name: str = Field(min_length=1, description="Plain file name that ends in .jsonl.")
    records: list[dict[str, Any]] = Field(
        min_length=1, description="Preferences, in any shape that evaluations read."
    )


class Dataset(BaseModel):
    """What is kept."""

    name: str
    sha256: str
    num_items: int
