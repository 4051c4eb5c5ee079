"""Fake versions of a model: the source is the version, and scores are in proportion to it."""

from pathlib import Path

import numpy as np

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest


def load_versions(spec: ModelSpec) -> LoadedModel:
    """Version N has N times the scores of version 1; a source may be a folder named after the version."""
    version = Path(spec.source).name
    if not version.isdecimal():
        raise InvalidInput(f"source {spec.source!r} is no number", param="source")
    backend = WeightedSumBackend(int(version) * 1e-4)
    return LoadedModel(
        spec, manifest(spec.name, version=version, digest=f"digest-{version}"), CodePointEncoder(), backend
    )


def reward_of(version: str, response: str) -> float:
    """The reward that a version gives to an answer to ``why?``, computed apart from the service."""
    encoded = CodePointEncoder().encode(Conversation.of("why?", response), "response")
    scores, _ = WeightedSumBackend(int(version) * 1e-4).forward([encoded])
    return float(np.float32(scores[0, 0]))
