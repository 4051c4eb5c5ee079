"""`make pipeline-smoke`: the whole path on tiny models."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guerdon_service.app.loader import load_model
from guerdon_service.artifacts.policy import read_policy
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import from_json
from guerdon_training.artifact import MANIFEST
from guerdon_training.cli import train_command
from guerdon_training.config_file import override, read_mapping
from guerdon_training.data import file_sha256, read_pairs
from guerdon_training.pipeline.compare import POLICIES
from guerdon_training.pipeline.run import run_stages
from guerdon_training.pipeline.stages import pipeline_stages
from guerdon_training.pipeline.wiring import wire
from guerdon_training.tagging import tag
from tests.contract.harness import served
from tests.training_pipeline.conftest import Finished

SECTIONS = (
    "summary",
    "audit",
    "sft",
    "reward",
    "gold",
    "dpo",
    "ppo",
    "comparison",
    "over-optimisation",
    "not-tested",
    "stages",
)


def _manifest(folder: Path) -> Any:
    return from_json((folder / MANIFEST).read_text("utf-8"))


def test_a_run_killed_within_a_stage_goes_on_there(finished: Finished) -> None:
    assert finished.ran == ["ppo", "compare", "artifacts", "report"]
    log = (finished.folder / "ppo" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["update"] for line in log] == [0, 1, 2, 3]


def test_the_killed_run_ends_in_the_weights_of_an_uninterrupted_one(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in finished.root.glob("*.*"):
        shutil.copy(path, tmp_path)
    for name in ("audit", "halves", "sft", "reward", "gold", "dpo"):
        shutil.copytree(finished.folder / name, tmp_path / finished.config.output / name)
    assert run_stages(finished.stages[:7]) == ["ppo"]
    assert _manifest(tmp_path / finished.config.ppo.output) == _manifest(finished.folder / "ppo")


def test_a_second_run_does_nothing(copied: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in copied.folder.rglob("*")}
    assert train_command(["pipeline", "pipeline.yaml"]) == 0
    assert {p: p.stat().st_mtime_ns for p in copied.folder.rglob("*")} == before
    told = capsys.readouterr().out
    assert f"digest {_manifest(copied.folder / 'artifacts' / 'ppo').digest}" in told
    assert re.search(r"^runs/tiny/artifacts/ppo: update 3 of 3 kept: score .* \(before .*\), KL ", told, re.M)


def test_another_setting_is_refused_with_what_to_remove(copied: Finished) -> None:
    config = wire(override(read_mapping(Path("pipeline.yaml")), ["dpo.loss.beta=0.3"]))
    with pytest.raises(InvalidInput, match=r"stage dpo .*loss\.beta was 0\.1, is 0\.3.*runs/tiny/dpo") as err:
        run_stages(pipeline_stages(config))
    removed = re.findall(r"runs/tiny/\w+", err.value.message)
    assert removed == [f"runs/tiny/{n}" for n in ("dpo", "ppo", "compare", "artifacts", "report")]


def test_another_data_file_is_refused(copied: Finished) -> None:
    with Path("sft_train.jsonl").open("a") as file:
        file.write('{"id": "new", "prompt": "one", "response": "two", "source": "made"}\n')
    with pytest.raises(InvalidInput, match=r"stage sft .*sft_train\.jsonl changed"):
        run_stages(copied.stages)


def test_an_output_changed_by_hand_is_refused(copied: Finished) -> None:
    with (copied.folder / "reward" / MANIFEST).open("a") as file:
        file.write("\n")
    with pytest.raises(InvalidInput, match=r"stage reward .*reward/manifest\.json changed"):
        run_stages(copied.stages)


def test_nothing_but_gold_learns_from_the_other_half(finished: Finished) -> None:
    halves = {p.name: read_pairs(p) for p in (finished.folder / "halves").glob("*.gz")}
    assert set(halves) == {f"{h}_{s}.jsonl.gz" for h in "ab" for s in ("train", "valid")}
    for split in ("train", "valid"):
        a, b = halves[f"a_{split}.jsonl.gz"], halves[f"b_{split}.jsonl.gz"]
        assert {p.cluster for p in a}.isdisjoint(p.cluster for p in b)
        whole = read_pairs(finished.root / f"pairs_{split}.jsonl")
        assert sorted(p.id for p in (*a, *b)) == sorted(p.id for p in whole)
    learners = {
        name: _manifest(finished.folder / name).parents["data_sha256"]
        for name in ("reward", "gold", "dpo", "ppo")
    }
    other = {file_sha256(finished.folder / "halves" / f"b_{s}.jsonl.gz") for s in ("train", "valid")}
    assert other <= set(learners.pop("gold").values())
    assert all(other.isdisjoint(digests.values()) for digests in learners.values())


async def test_the_service_scores_exactly_what_training_measured(finished: Finished) -> None:
    """The certificate passes on loading; then every test pair, over HTTP."""
    folder = finished.folder / "artifacts" / "reward"
    loaded = load_model(ModelSpec("reward", str(folder)), num_threads=1)
    assert loaded.certificate.passed
    loaded.backend.close()
    heads = [head.name for head in finished.config.reward.heads]
    pairs = {p.id: p for p in read_pairs(finished.root / "pairs_test.jsonl")}
    lines = map(json.loads, (folder / "scores.jsonl").read_text("utf-8").splitlines())
    stored = [x for x in lines if x["split"] == "test" and x["raw"] is not None]
    assert len(stored) == len(tag(list(pairs.values()), finished.config.reward.heads, trained=False)) > 30
    items = [
        {"prompt": pair.prompt[0].content, "response": response}
        for pair in (pairs[x["id"]] for x in stored)
        for response in (pair.chosen, pair.rejected)
    ]
    async with served(ModelSpec("reward", str(folder)), load=load_model) as at:
        reply = await at.rest.post("/v1/score", json={"model": "reward", "items": items})
    assert reply.status_code == 200, reply.text
    got = [[score["raw"][name] for name in heads] for score in reply.json()["scores"]]
    want = [row for x in stored for row in x["raw"]]
    np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)


def test_every_published_artifact_is_ready_to_be_registered(finished: Finished) -> None:
    """The service digests each file and finds what the manifest says."""
    for name in POLICIES:
        folder = finished.folder / "artifacts" / name
        manifest = _manifest(folder)
        assert read_policy(str(folder)).digest == manifest.digest != ""
        assert manifest.metrics["comparison"]["num_prompts"] == 16
        card = (folder / "MODEL_CARD.md").read_text("utf-8")
        assert re.findall("^## (.*)$", card, re.MULTILINE)[-3:] == [
            "Not tested",
            "What it must not be used for",
            "Made from",
        ]
        assert _unmeasured(card) == ["Anything: it is a test."]
    for name in ("reward", "gold"):
        folder = finished.folder / "artifacts" / name
        assert read_artifact(str(folder), name).manifest.digest == _manifest(folder).digest != ""
        card = (folder / "MODEL_CARD.md").read_text("utf-8")
        for heading in ("Accuracy by subset", "Calibration", "Robustness", "Groups of people", "Not tested"):
            assert card.count(f"\n## {heading}") == 1
        assert _unmeasured(card) == ["Anything: it is a test."]
        assert card.count("\n| refusal prefix | not rise |") == 1
        assert re.findall(r"^\| (\S+) \| (comply|refuse) \| 9 \| 9 \| \d", card, re.MULTILINE) == [
            (profile, part) for part in ("comply", "refuse") for profile in ("both", "manners")
        ]


def _unmeasured(card: str) -> list[str]:
    """What a card says that neither a figure nor a key of the config does: of a test's own model nothing."""
    assert not re.search("English|small|single person|mathematics|licence permits", card)
    return re.findall("^- (Anything.*)$", card, re.MULTILINE)


def test_the_report_has_every_section_and_stands_alone(finished: Finished) -> None:
    text = (finished.folder / "report" / "report.html").read_text("utf-8")
    assert re.findall(r'<section id="([^"]+)">', text) == list(SECTIONS)
    parts = dict(re.findall(r'<section id="([^"]+)">(.*?)</section>', text, re.DOTALL))
    for name in ("sft", "reward", "gold", "dpo", "ppo", "over-optimisation"):
        assert "<svg" in parts[name], name
    for plotted in ("Clip fraction", "Entropy", "EOS rate", "Explained variance", "KL from SFT"):
        assert plotted in parts["ppo"]
    for judge in ("reward", "gold"):
        assert "<h3>When to refuse</h3>" in parts[judge]
        for part in ("comply", "refuse"):
            assert f'<td>manners</td><td>{part}</td><td class="number">9</td>' in parts[judge]
    assert "DPO: gold reward" in parts["summary"]
    assert "PPO: gold reward" in parts["summary"]
    assert _manifest(finished.folder / "ppo").digest in parts["stages"]
    assert "http" not in text
    assert "<script" not in text


def test_the_comparison_is_paired_with_the_sft_policy(finished: Finished) -> None:
    folder = finished.folder / "compare"
    answers = [json.loads(line) for line in (folder / "responses.jsonl").read_text("utf-8").splitlines()]
    summary = json.loads((folder / "comparison.json").read_text("utf-8"))
    rewards = {
        name: np.array([a["rewards"]["gold"] for a in answers if a["policy"] == name]) for name in POLICIES
    }
    for name in POLICIES:
        found = summary["policies"][name]
        assert found["rewards"]["gold"]["over_reference"]["value"] == pytest.approx(
            float((rewards[name] - rewards["sft"]).mean())
        )
        interval = found["rewards"]["gold"]["over_reference"]
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert summary["kept_by_gold"] is False  # keep: last
    assert summary["policies"]["sft"]["kl"]["value"] == pytest.approx(0.0, abs=1e-5)
    assert summary["policies"]["ppo"]["kl_k3"]["value"] > 0.0


def test_no_path_of_this_machine_is_published(finished: Finished) -> None:
    here = str(finished.root).encode()
    published = [p for n in ("artifacts", "report", "compare") for p in (finished.folder / n).rglob("*")]
    assert not [p for p in published if p.is_file() and here in p.read_bytes()]
