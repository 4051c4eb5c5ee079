"""Rows of a table of positions that no token can have."""

from typing import Any

_OFFSET_FAMILIES = (
    "camembert",
    "ibert",
    "longformer",
    "mpnet",
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
"""They number positions from pad_token_id + 1."""


def reserved_positions(config: Any) -> int:
    """How many of a configuration's `max_position_embeddings` are out of reach of tokens."""
    return (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_FAMILIES else 0
