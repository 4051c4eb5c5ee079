"""A prompt of the comparison from which a stage would learn is refused before any stage runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config_file import read_mapping
from guerdon_training.pipeline import recipe
from guerdon_training.pipeline.recipe import train_pipeline
from guerdon_training.pipeline.stages import pipeline_stages
from guerdon_training.pipeline.stamp import Stamp, write_stamp
from guerdon_training.pipeline.wiring import wire
from tests.training_pipeline.tiny_project import config, pairs, write_project


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, which is the working folder, with ``own.jsonl``, in which is a prompt of the comparison."""
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    known = json.loads(Path("pairs_test.jsonl").read_text("utf-8").splitlines()[0])["prompt"]
    own = {"prompt": known, "response": "a", "source": "known"}, {"prompt": "?", "source": "unknown"}
    Path("own.jsonl").write_text("".join(json.dumps(record) + "\n" for record in own), "utf-8")
    return tmp_path


def refused(folder: Path, match: str, **changes: Any) -> None:
    """What the command says of the project with these sections, before a stage runs."""
    path = write_project(folder, **changes)
    with pytest.raises(InvalidInput, match=match) as told:
        train_pipeline(path)
    assert told.value.param == "compare.prompts"
    assert not Path("runs").exists()


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("stage", ["sft", "dpo", "ppo"])
def test_a_file_that_a_policy_learns_from(here: Path, stage: str, split: str) -> None:
    section = config()[stage]
    data = section.get("data", {}) | {split: "own.jsonl"}
    said = r"pairs_test\.jsonl:1: this prompt is in own\.jsonl too, which is trained on; give held-out"
    refused(here, said, **{stage: section | {"data": data}})


@pytest.mark.parametrize("split", ["train", "valid"])
def test_the_pairs_whichever_half_they_will_be_in(here: Path, split: str) -> None:
    held_out = pairs(3, 99, held_out=True)
    learned = json.loads(Path(f"pairs_{split}.jsonl").read_text("utf-8").splitlines()[2])["prompt"]
    held_out[1]["prompt"][0]["content"] = learned[0]["content"].upper()
    Path("held_out.jsonl").write_text("".join(json.dumps(p) + "\n" for p in held_out), "utf-8")
    compare = config()["compare"] | {"prompts": "held_out.jsonl"}
    refused(here, rf"held_out\.jsonl:2: this prompt is in pairs_{split}\.jsonl too", compare=compare)


@pytest.mark.parametrize("left", [0, 1])
def test_once_every_stage_is_done_the_files_are_not_read_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    class Begun(Exception):
        """The stages run."""

    def begin(*_: object, **__: object) -> None:
        raise Begun

    monkeypatch.setattr(recipe, "run_stages", begin)
    section = config()["ppo"]
    path = write_project(here, ppo=section | {"data": section["data"] | {"train": "own.jsonl"}})
    stages = pipeline_stages(wire(read_mapping(path)))
    for stage in stages[left:]:
        stage.folder.mkdir(parents=True)
        write_stamp(stage.folder, Stamp({}, {}, {}))
    with pytest.raises(InvalidInput if left else Begun):
        train_pipeline(path)


def test_what_no_stage_keeps_is_no_matter(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Begun(Exception):
        """The stages run."""

    def begin(*_: object, **__: object) -> None:
        raise Begun

    monkeypatch.setattr(recipe, "run_stages", begin)
    section = config()["ppo"]
    data = section["data"] | {"train": "own.jsonl", "sources": ["unknown"]}
    with pytest.raises(Begun):
        train_pipeline(write_project(here, ppo=section | {"data": data}))
