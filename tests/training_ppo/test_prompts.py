"""Prompts are read with their place in errors, and each comes once a pass."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.ppo.prompts import prompt_order, read_prompts


@pytest.fixture(scope="module")
def tokenizer(policy_folder: Path) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(policy_folder)
    return found


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_text_and_messages_duplicates_and_long_ones(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    path = _file(
        tmp_path,
        '{"prompt": "red one", "source": "a"}',
        '{"prompt": [{"role": "user", "content": "red one"}], "chosen": "x"}',
        '{"prompt": [{"role": "user", "content": "blue blue blue blue blue blue blue blue"}]}',
        '{"prompt": [{"role": "user", "content": "two"}, {"role": "assistant", "content": "no"},'
        ' {"role": "user", "content": "yes"}]}',
    )
    found = read_prompts(path, tokenizer, max_tokens=10)
    assert [p.messages[0] for p in found] == [Message("user", "red one"), Message("user", "two")]
    assert tokenizer.decode(list(found[0].ids)) == "<user> red one <end> <assistant>"
    assert len(found[1].ids) == 10
    assert len(read_prompts(path, tokenizer, max_tokens=9)) == 1
    assert [p.source for p in read_prompts(path, tokenizer, max_tokens=99, sources=["a"])] == ["a"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "prompts.jsonl:2 is not JSON"),
        ('{"text": "a"}', "prompts.jsonl:2 has no prompt"),
        (r'{"prompt": "a \ud800"}', "prompts.jsonl:2 holds half a character"),
        ('{"prompt": ""}', "prompts.jsonl:2: prompt is empty"),
        ('{"prompt": [{"role": "robot", "content": "a"}]}', "prompts.jsonl:2"),
    ],
)
def test_a_bad_line_is_named(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, line: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_prompts(_file(tmp_path, '{"prompt": "red"}', line), tokenizer, max_tokens=10)


def test_no_prompt_that_fits_is_refused(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="max_prompt_tokens"):
        read_prompts(_file(tmp_path, '{"prompt": "red"}'), tokenizer, max_tokens=2)


def test_each_prompt_comes_once_a_pass_and_any_stretch_can_be_had_alone() -> None:
    whole = prompt_order(7, 0, 35, seed=3)
    passes = [whole[i : i + 7] for i in range(0, 35, 7)]
    assert all(sorted(p) == list(range(7)) for p in passes)
    assert len({tuple(p) for p in passes}) > 1
    assert prompt_order(7, 10, 9, seed=3) == whole[10:19]
    assert prompt_order(7, 0, 35, seed=4) != whole
