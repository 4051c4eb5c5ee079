"""No prompt is in both halves, however often and in whichever file it comes."""

import json
from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import read_pairs
from guerdon_training.pipeline.halves import half_of, write_halves
from guerdon_training.pipeline.held_out import check_held_out


def _write(path: Path, *openings: str) -> Path:
    """Three pairs for each opening: as it is, shouted, and with another turn after it."""
    records = []
    for opening in openings:
        more = [{"role": "assistant", "content": "Hm?"}, {"role": "user", "content": "Go on."}]
        for i, text in enumerate((opening, f"  {opening.upper()}!", opening)):
            prompt = [{"role": "user", "content": text}, *(more if i == 2 else [])]
            records.append({"id": f"{opening}/{i}", "prompt": prompt, "chosen": "a", "rejected": "b"})
    path.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    return path


def _halves(source: Path, folder: Path) -> dict[str, Path]:
    targets = {name: folder / f"{name}_{source.stem}.jsonl.gz" for name in "ab"}
    counts = write_halves(source, targets)
    assert counts == {name: len(read_pairs(path)) for name, path in targets.items()}
    return targets


def test_an_opening_stays_together_in_every_file(tmp_path: Path) -> None:
    openings = [f"prompt {i}" for i in range(20)]
    train = _halves(_write(tmp_path / "train.jsonl", *openings), tmp_path / "first")
    valid = _halves(_write(tmp_path / "valid.jsonl", *openings[10:]), tmp_path / "second")
    for files, sources in ((train, openings), (valid, openings[10:])):
        found = {name: read_pairs(path) for name, path in files.items()}
        assert sorted(p.id for pairs in found.values() for p in pairs) == sorted(
            f"{opening}/{i}" for opening in sources for i in range(3)
        )
        for name, pairs in found.items():
            assert {half_of(p.cluster) for p in pairs} == {name}
    ids = {name: {p.id for f in (train, valid) for p in read_pairs(f[name])} for name in "ab"}
    assert ids["a"].isdisjoint(ids["b"])
    assert {name.split("/")[0] for name in ids["a"]}.isdisjoint(name.split("/")[0] for name in ids["b"])


def test_a_half_without_pairs_is_refused(tmp_path: Path) -> None:
    source = _write(tmp_path / "one.jsonl", "the same")
    with pytest.raises(InvalidInput, match=r"half . of .*one\.jsonl would be empty; give more pairs"):
        write_halves(source, {name: tmp_path / f"{name}.gz" for name in "ab"})


def test_a_prompt_to_compare_on_opens_as_no_pair_does(tmp_path: Path) -> None:
    pairs, prompts = _write(tmp_path / "pairs.jsonl", "known"), tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "new", "source": "x"}\n{"prompt": "KNOWN?", "source": "y"}\n', "utf-8")
    check_held_out(prompts, ["x"], [(pairs, ())])
    check_held_out(prompts, [], [(pairs, ["another"])])  # of which the run keeps nothing
    with pytest.raises(InvalidInput, match=r"prompts\.jsonl:2: this prompt is in .*pairs\.jsonl too"):
        check_held_out(prompts, [], [(pairs, ())])
