"""`guerdon calibrate` writes a copy whose probabilities are right, and whose scores are the same bits."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from guerdon.cli.main import main
from guerdon_service.app.calibrate import calibrate_command
from guerdon_service.app.loader import load_model
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.registry.report_view import view
from tests.app.drawn_pairs import drawn_pairs, raw_scores
from tests.artifacts.sealing import reward_manifest, seal, sha256
from tests.artifacts.test_base import save_adapter
from tests.evaluation.data import write
from tests.threads import one_thread
from tests.tiny import tiny

__all__ = ["one_thread"]

statsmodels: Any = import_module("statsmodels.api")
NUM_PAIRS = 200


def command(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    return ["--model", str(model), "--data", str(data), "--output", str(output), *more]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def manifest_of(folder: Path) -> Manifest:
    return read_artifact(str(folder)).manifest


def texts(pairs: tuple[dict[str, Any], ...]) -> list[tuple[str, str]]:
    return [(pair["prompt"], pair[side]) for pair in pairs for side in ("chosen", "rejected")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl.gz", drawn_pairs(tiny("bert"), NUM_PAIRS))


def artifact_folder(folder: Path, **changes: Any) -> Path:
    """An artifact with golden scores, a card and figures; `changes` of its manifest."""
    shutil.copytree(tiny("bert"), folder)
    (folder / "MODEL_CARD.md").write_text("# tiny 1.0\n")
    golden = [("What is it?", "A fox."), ("And now?", "A dog, I believe.")]
    raw = raw_scores(folder, golden)
    lines = [
        json.dumps({"prompt": p, "response": r, "raw": v})
        for (p, r), v in zip(golden, raw.tolist(), strict=True)
    ]
    (folder / "golden.jsonl").write_text("\n".join(lines))
    seal(folder, replace(reward_manifest(), max_tokens=512, **changes))
    return folder


@pytest.mark.parametrize("num_heads", [1, 2])
def test_a_plain_folder_becomes_an_artifact_with_what_independent_fits_find(
    num_heads: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, copy = tiny("bert", num_heads), tmp_path / "copy"
    pairs = drawn_pairs(model, NUM_PAIRS)
    data, before = write(tmp_path / "pairs.jsonl", pairs), files(model)
    assert main(["calibrate", *command(model, data, copy, "--json")]) == 0
    told = json.loads(capsys.readouterr().out)

    raw = raw_scores(model, texts(pairs)).astype(np.float64)
    reward = ((raw - raw.mean(axis=0)) / raw.std(axis=0)).mean(axis=1)
    margins = reward[0::2] - reward[1::2]
    both = np.concatenate([margins, -margins])[:, None]
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    slope = oracle.fit(both, np.repeat([1, 0], NUM_PAIRS)).coef_[0, 0]
    binomial = statsmodels.GLM(np.ones(NUM_PAIRS), margins[:, None], family=statsmodels.families.Binomial())
    prompts = {"groups": np.arange(NUM_PAIRS) // 2, "use_correction": False}
    clustered = binomial.fit(cov_type="cluster", cov_kwds=prompts)

    old, new = manifest_of(model), manifest_of(copy)
    assert new.calibration.slope == pytest.approx(slope, rel=1e-4)
    assert new.calibration.slope_se == pytest.approx(clustered.bse[0], rel=1e-4)
    assert new.calibration.num_pairs == NUM_PAIRS
    for i, head in enumerate(new.heads):
        assert (head.norm.mean, head.norm.std) == pytest.approx((raw[:, i].mean(), raw[:, i].std()))
    assert (bool(old.inferred), new.inferred) == (True, ())
    assert replace(new, heads=old.heads, inferred=old.inferred, calibration=old.calibration) == replace(
        old, version=new.version, digest=new.digest, parents=new.parents
    ), "whatever else was inferred is written down"
    assert new.digest != old.digest and new.version.startswith(f"{old.version}-cal-")
    assert told["digest"] == new.digest == json.loads((copy / "manifest.json").read_text())["digest"]
    assert (told["slope"], told["num_prompts"]) == (new.calibration.slope, NUM_PAIRS // 2)
    assert told["accuracy"] == pytest.approx((margins > 0).mean())
    assert 2 * told["ece_after"] < told["ece_before"] and told["knows_training_data"] is False
    assert files(model) == before
    assert files(copy).items() >= before.items()
    assert {p.name for p in tmp_path.iterdir()} == {"pairs.jsonl", "copy"}


def test_on_other_pairs_the_copy_is_calibrated_and_the_original_was_not(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `guerdon evaluate` serves and measures both, and as the gate reads what it found."""
    calibrate_command(command(tiny("bert"), data, tmp_path / "copy"))
    others = write(tmp_path / "others.jsonl", drawn_pairs(tiny("bert"), 600, seed=1))
    found = []
    for model in (tiny("bert"), tmp_path / "copy"):
        capsys.readouterr()
        assert main(["evaluate", "--model", str(model), "--data", str(others), "--json"]) == 0
        ece = view(json.loads(capsys.readouterr().out)["report"]).ece
        assert ece is not None
        found.append(ece)
    assert found[0].low > 0.2
    assert found[1].low == 0.0 and found[1].value < 0.05


def test_votes_ties_and_lists_count_as_in_an_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, *rest = drawn_pairs(tiny("bert"), NUM_PAIRS)
    voted = [row | {"votes": {"chosen": 3, "rejected": i % 3}} for i, row in enumerate(rest)]
    tie = one | {"label": "tie"}
    texts = [two["chosen"], two["rejected"], "a fox", "a poem"]
    listed = {"prompt": two["prompt"], "responses": texts, "grades": [3, 1, 2, 2]}
    data = write(tmp_path / "pairs.jsonl", [tie, *voted, listed])
    found = []
    for argv in (command(tiny("bert"), data, tmp_path / "copy"), ["--model", str(tiny("bert"))]):
        capsys.readouterr()
        words = ["calibrate", *argv] if "--output" in argv else ["evaluate", *argv, "--data", str(data)]
        assert main([*words, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    told, measured = found[0], found[1]["report"]["candidate"]["calibration"]
    assert told["num_pairs"] == measured["num_pairs"] == 1 + len(rest) + 5
    assert told["ece_before"] == pytest.approx(measured["error"]["ece"]["value"], rel=1e-9)


def test_the_scores_are_the_same_bits_and_certified(data: Path, tmp_path: Path) -> None:
    model, copy = artifact_folder(tmp_path / "model"), tmp_path / "copy"
    calibrate_command(command(model, data, copy))
    asked = texts(drawn_pairs(tiny("bert"), 40, seed=2))
    assert raw_scores(copy, asked).tobytes() == raw_scores(model, asked).tobytes()
    served = load_model(ModelSpec("m", str(copy)), num_threads=1)
    served.backend.close()
    assert {check.name: check.passed for check in served.certificate.checks}["golden"] is True
    assert served.certificate.passed


def test_an_artifact_keeps_its_lineage_and_its_card_tells_of_the_version(data: Path, tmp_path: Path) -> None:
    trained = {"train": "a" * 64, "valid": sha256(data)}  # training calibrates on valid too
    measured = {"reward": {"accuracy": 0.8}, "calibration": {"test": {"ece": 0.3}}}
    model = artifact_folder(tmp_path / "model", parents={"data_sha256": trained}, metrics=measured)
    calibrate_command(command(model, data, tmp_path / "copy"))
    old, new = manifest_of(model), manifest_of(tmp_path / "copy")
    source = {"name": "tiny", "version": "1.0", "digest": old.digest, "data_sha256": sha256(data)}
    assert new.parents == {"data_sha256": trained, "calibration": source}
    assert new.metrics == {"reward": {"accuracy": 0.8}}, "the other figure was of another slope"
    card = (tmp_path / "copy" / "MODEL_CARD.md").read_text()
    assert card.startswith(f"# tiny 1.0\n\n## Version {new.version}: calibrated again\n")
    assert f"sigmoid({new.calibration.slope:.3f} x margin)" in card

    calibrate_command(command(tmp_path / "copy", data, tmp_path / "again"))
    again = manifest_of(tmp_path / "again")
    assert again.calibration == new.calibration and again.heads == new.heads
    assert again.version != new.version and again.version.count("-cal-") == 1


def test_an_adapters_base_comes_along(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named by a path from the adapter's own folder."""
    shutil.copytree(tiny("bert"), tmp_path / "one" / "weights")
    model = save_adapter(tmp_path / "one" / "adapter", tiny("bert"))
    config = model / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "../weights"}))
    pairs = drawn_pairs(model, NUM_PAIRS)
    calibrate_command(command(model, write(tmp_path / "own.jsonl", pairs), tmp_path / "copy"))
    shutil.rmtree(tmp_path / "one" / "weights")
    assert manifest_of(tmp_path / "copy").calibration.num_pairs == NUM_PAIRS
    assert raw_scores(tmp_path / "copy", texts(pairs[:1])).shape == (2, 1)


def test_what_does_not_fit_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"id": "long", "prompt": "Why?", "chosen": "So.", "rejected": "fox " * 600}
    data = write(tmp_path / "pairs.jsonl", [long, *drawn_pairs(tiny("bert"), NUM_PAIRS)])
    calibrate_command(command(tiny("bert"), data, tmp_path / "copy"))
    out = capsys.readouterr().out
    assert "items left out: 1, the first because long.responses[1] takes " in out
    assert f"pairs: {NUM_PAIRS} of {NUM_PAIRS // 2} prompts" in out
    assert "names no training data: see to it yourself" in out
    with pytest.raises(InvalidInput, match=r"no item that the model takes: long\.responses\[1\] takes"):
        calibrate_command(command(tiny("bert"), write(data, [long]), tmp_path / "other"))


def test_a_slope_of_few_pairs_is_fitted_and_told_as_unsure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As training does with its valid pairs."""
    for num, sure in ((99, False), (100, True)):
        data = write(tmp_path / f"{num}.jsonl", list(drawn_pairs(tiny("bert"), NUM_PAIRS))[:num])
        calibrate_command(command(tiny("bert"), data, tmp_path / f"copy-{num}"))
        assert ("calibrated on 99 pairs alone: below 100" in capsys.readouterr().out) is not sure
        assert manifest_of(tmp_path / f"copy-{num}").calibration.num_pairs == num


Records = list[dict[str, Any]]
TOO_FEW: dict[str, tuple[Callable[[Records], Records], str]] = {
    "prompts": (
        lambda rows: [row | {"prompt": f"Q{i % 19}?"} for i, row in enumerate(rows)],
        r"data \(0 items left out\) has 200 usable pairs of 19 prompts, too few .* at least 20 prompts",
    ),
    "order": (
        lambda rows: [row if i % 2 else _swapped(row) for i, row in enumerate(rows)],
        r"does not show that the model orders pairs better than chance \(slope 0\.148, standard error 0\.09",
    ),
    "wrong order": (lambda rows: [_swapped(row) for row in rows], "slope is 0; .*better than chance"),
}


def _swapped(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


@pytest.mark.parametrize("case", TOO_FEW)
def test_pairs_that_say_too_little_are_refused(case: str, tmp_path: Path) -> None:
    change, message = TOO_FEW[case]
    data = write(tmp_path / "pairs.jsonl", change(list(drawn_pairs(tiny("bert"), NUM_PAIRS))))
    with pytest.raises(InvalidInput, match=message) as refused:
        calibrate_command(command(tiny("bert"), data, tmp_path / "copy"))
    assert refused.value.param == "data"
    assert {p.name for p in tmp_path.iterdir()} == {"pairs.jsonl"}


def test_pairs_that_it_was_trained_on_are_refused(data: Path, tmp_path: Path) -> None:
    head = {"data_sha256": {"train": sha256(data)}}
    for name, parents in (("one", head), ("two", {"data_sha256": {"train": "a" * 64}, "head": head})):
        model = artifact_folder(tmp_path / name, parents=parents)
        with pytest.raises(
            InvalidInput, match=r"pairs\.jsonl\.gz is what tiny was trained on \(train\); give"
        ):
            calibrate_command(command(model, data, tmp_path / "copy"))


def test_a_head_that_tells_nothing_apart_is_refused(data: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny("bert"), tmp_path / "model"))
    tensors = load_file(model / "model.safetensors")
    tensors["classifier.weight"] = torch.zeros_like(tensors["classifier.weight"])
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidInput, match="head reward scores all responses of data alike") as refused:
        calibrate_command(command(model, data, tmp_path / "copy"))
    assert refused.value.param == "model"


def test_an_output_that_is_there_or_in_the_model_is_refused(data: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny("bert"), tmp_path / "model"))
    for output, message in (
        (tmp_path, "exists"),
        (tmp_path / "no" / "copy", "its parent does not"),
        (model / "copy", "lies in the model's own folder; name one outside"),
    ):
        with pytest.raises(InvalidInput, match=message) as refused:
            calibrate_command(command(model, data, output))
        assert refused.value.param == "output"


def test_a_policy_and_a_file_without_pairs_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Path(shutil.copytree(tiny("bert"), tmp_path / "policy"))
    seal(policy, replace(reward_manifest(), kind="policy"))
    with pytest.raises(InvalidInput, match="tiny is a policy; give a reward model") as refused:
        calibrate_command(command(policy, data, tmp_path / "copy"))
    assert refused.value.param == "model"
    bad = tmp_path / "bad.jsonl.gz"
    bad.write_bytes(gzip.compress(b'{"prompt": "a", "chosen": "b"}'))
    assert main(["calibrate", *command(tiny("bert"), bad, tmp_path / "copy")]) == 2
    assert "bad.jsonl.gz:1 is no preference record: it has neither chosen" in capsys.readouterr().err
