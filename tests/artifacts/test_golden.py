"""`golden.jsonl`: read as written, and a bad line is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from guerdon_service.artifacts.golden import Golden, read_golden
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from tests.artifacts.sealing import reward_manifest


def artifact(folder: Path, *lines: str) -> Artifact:
    (folder / "golden.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return Artifact(folder, folder, None, reward_manifest())


def test_lines_are_read_as_written(tmp_path: Path) -> None:
    thread = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?\u2028"}]
    lines = (
        json.dumps({"prompt": " What? ", "response": "That.\n", "raw": [0.1]}),
        "",
        json.dumps({"prompt": thread, "response": "Because. 🙂", "raw": [-2]}, ensure_ascii=False),
    )
    turns = (Message("system", "Be brief."), Message("user", "Why?\u2028"))
    assert read_golden(artifact(tmp_path, *lines)) == (
        Golden(Conversation.of(" What? ", "That.\n"), (0.1,)),
        Golden(Conversation.of(turns, "Because. 🙂"), (-2.0,)),
    )


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    found = artifact(tmp_path)
    (tmp_path / "golden.jsonl").unlink()
    assert read_golden(found) == ()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "1",
        '{"prompt": "a", "response": "b"}',
        '{"prompt": "a", "response": "b", "raw": ["x"]}',
        '{"prompt": "a", "response": "b", "raw": 1}',
        '{"prompt": "a", "response": "b", "raw": [1, 2]}',
        '{"prompt": "a", "response": "b", "raw": []}',
        '{"prompt": "a", "response": "b", "raw": [NaN]}',
        '{"prompt": "a", "response": 3, "raw": [1]}',
        '{"prompt": "", "response": "b", "raw": [1]}',
        '{"prompt": [], "response": "b", "raw": [1]}',
        '{"prompt": ["a"], "response": "b", "raw": [1]}',
        '{"prompt": [{"role": "user", "content": null}], "response": "b", "raw": [1]}',
        '{"prompt": [{"role": "narrator", "content": "a"}], "response": "b", "raw": [1]}',
        '{"prompt": "\\ud800", "response": "b", "raw": [1]}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    good = json.dumps({"prompt": "a", "response": "b", "raw": [1]})
    with pytest.raises(InvalidInput) as caught:
        read_golden(artifact(tmp_path, good, line))
    assert "golden.jsonl:2" in caught.value.message
    assert (caught.value.param or "").startswith("golden.jsonl:2")


def test_one_number_for_each_head(tmp_path: Path) -> None:
    found = artifact(tmp_path, '{"prompt": "a", "response": "b", "raw": [1]}')
    two = tuple(replace(found.manifest.heads[0], name=name) for name in ("x", "y"))
    with pytest.raises(InvalidInput, match="for each of 2 heads"):
        read_golden(replace(found, manifest=replace(found.manifest, heads=two)))
