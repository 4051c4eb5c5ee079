from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import BertModel

from guerdon_service.app import export
from guerdon_service.core.artifact import Artifact
from tests.client.stub import rest_stub
from tests.commands.cases import Given
from tests.tiny_base import bert_package


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """Inputs of every command; the service is a stub."""
    packages = tmp_path_factory.mktemp("packages")
    with bert_package(packages, "tiny_base_of_commands", BertModel) as base, rest_stub() as (url, _):
        yield Given(tmp_path_factory.mktemp("given"), url, base)


@pytest.fixture
def ready_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in place of the exporter's seconds of work, and nobody compares what it holds."""

    def write(artifact: Artifact, path: Path) -> None:
        path.write_bytes(b"a graph")

    monkeypatch.setattr(export, "export_graph", write)
    monkeypatch.setattr(export, "check_fp32", lambda *_: "fp32: not compared")
