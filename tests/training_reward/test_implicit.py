"""A policy that DPO trained, as a reward."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import from_json, to_json
from guerdon_training.cli import train_command
from guerdon_training.data import read_pairs
from guerdon_training.evaluate import measure
from guerdon_training.judge import judge
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.implicit_source import ImplicitSource, open_implicit_reward
from guerdon_training.policy.load import load_policy
from guerdon_training.ppo.config import ScoreSource
from guerdon_training.ppo.rewards import open_reward
from tests.training_policy.conftest import tiny_lm
from tests.training_policy.runs import prepare_dpo

__all__ = ["tiny_lm"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def artifact(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``guerdon train dpo`` wrote."""
    folder = tmp_path_factory.mktemp("dpo")
    config = prepare_dpo(folder, tiny_lm)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["dpo", config.name]) == 0
    return folder / "artifact"


def test_it_judges_pairs_as_training_measured(artifact: Path) -> None:
    pairs = read_pairs(artifact.parent / "test.jsonl")
    with open_reward(ScoreSource(artifacts=(str(artifact),)), CPU) as source:
        assert isinstance(source, ImplicitSource)
        judged = judge(source, pairs)
    manifest = from_json((artifact / "manifest.json").read_text("utf-8"))
    margins = [j.scores[0] - j.scores[1] for j in judged if j.scores is not None]
    assert sum(margins) / len(margins) == pytest.approx(manifest.metrics["test"]["margin"], abs=1e-4)
    assert measure(judged).accuracy.value == manifest.metrics["test"]["accuracy"]
    assert source.identity["digest"] == manifest.digest


def test_no_score_depends_on_its_neighbours_and_what_does_not_fit_has_none(artifact: Path) -> None:
    source = open_implicit_reward(artifact, CPU)
    texts = [Conversation.of(p.prompt, p.chosen) for p in read_pairs(artifact.parent / "test.jsonl")[:4]]
    alone = [source.score([text])[0] for text in texts]
    together = source.score([*texts, Conversation.of("x", ""), Conversation.of("x", "word " * 500)])
    assert together == [*(pytest.approx(a, abs=1e-5) for a in alone), None, None]


def test_an_adapter_is_compared_with_its_base(artifact: Path, tiny_lm: Path, tmp_path: Path) -> None:
    model = load_policy(tiny_lm, PolicyLora(rank=2), 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.1 * torch.randn_like(parameter))
    adapted, merged = tmp_path / "adapted", tmp_path / "merged"
    for folder in (adapted, merged):
        folder.mkdir()
        shutil.copy(artifact / "implicit_reward.json", folder)
        unsealed = replace(from_json((artifact / "manifest.json").read_text("utf-8")), digest="")
        (folder / "manifest.json").write_text(to_json(unsealed), "utf-8")
    model.save_pretrained(str(adapted / "adapter"))  # type: ignore[operator]
    model.merge_and_unload().save_pretrained(merged)  # type: ignore[operator]
    for file in artifact.glob("*token*"):
        shutil.copy(file, merged)
    shutil.copy(artifact / "chat_template.jinja", merged)
    text = [Conversation.of("a b", "c d e")]
    expected = open_implicit_reward(merged, CPU).score(text)[0]
    assert expected is not None and expected != 0
    assert open_implicit_reward(adapted, CPU).score(text) == [pytest.approx(expected, abs=1e-5)]


def test_another_reference_is_refused(artifact: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(artifact, copy)
    description = json.loads((copy / "implicit_reward.json").read_text())
    (copy / "implicit_reward.json").write_text(json.dumps(description | {"reference_sha256": "0" * 64}))
    with pytest.raises(InvalidInput, match="holds other weights than"):
        open_implicit_reward(copy, CPU)
    (copy / "implicit_reward.json").unlink()
    with pytest.raises(InvalidInput, match=r"has no implicit_reward\.json"):
        open_implicit_reward(copy, CPU)


def test_a_policy_that_was_changed_is_refused(artifact: Path, tmp_path: Path) -> None:
    """Its digest is what the reward's lineage, and a resumed run, know it by."""
    copy = tmp_path / "copy"
    shutil.copytree(artifact, copy)
    weights = load_file(copy / "model.safetensors")
    save_file({name: 1.5 * tensor for name, tensor in weights.items()}, copy / "model.safetensors")
    with pytest.raises(InvalidInput, match="was changed after its manifest was written"):
        open_implicit_reward(copy, CPU)
