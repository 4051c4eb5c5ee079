"""Every option at once through the recipe, and the artifact as its readers see it."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training import memory
from guerdon_training.artifact import digest_of
from guerdon_training.audit.read import read_records
from guerdon_training.audit.report import audit, report_json
from guerdon_training.config import BaseConfig, LoraConfig, RewardConfig
from guerdon_training.config_file import build_config
from guerdon_training.encode import PairTokens
from guerdon_training.flip_rates import read_flip_rates
from guerdon_training.golden import TEXTS
from guerdon_training.model import base_folder, build_model, load_classifier
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.reward_pairs import tagged_splits
from guerdon_training.rows import Rows
from guerdon_training.warm import average_runs
from tests.training_reward.runs import config, train, write_pairs

GOOD = Conversation.of("why one two ?", "the answer is good why one two ?")
BAD = Conversation.of("why one two ?", "the answer is bad why one two ?")


@pytest.fixture(scope="module")
def manifest(trained: Path) -> Manifest:
    return from_json((trained / "manifest.json").read_text("utf-8"))


def test_members_share_an_attribute_and_no_other_output_is_served(manifest: Manifest) -> None:
    assert [(h.name, h.attribute) for h in manifest.heads] == [
        ("quality/0", "quality"),
        ("quality/1", "quality"),
    ]


def test_the_card_says_what_was_minimised(trained: Path) -> None:
    card = (trained / "MODEL_CARD.md").read_text("utf-8")
    assert (
        "Davidson loss, labels from votes, 2 members for each head, the average of 2 runs' weights, " in card
    )


def test_no_model_hub_is_asked_and_nothing_is_reported_lost(
    tiny_base: BaseConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda name, file: asked.append(name)
    )
    write_pairs(tmp_path, num=24)
    train(tmp_path, config(tiny_base, optim={"epochs": 1, "num_threads": 1}))
    assert not asked
    assert "MISSING" not in capfd.readouterr().err


def test_it_learns(manifest: Manifest) -> None:
    assert manifest.metrics["quality"]["test"]["pooled"]["accuracy"]["value"] >= 0.75


def test_the_artifact_is_sealed_and_scores_with_a_spread(
    trained: Path, manifest: Manifest, tiny_base: BaseConfig
) -> None:
    assert manifest.digest == digest_of(trained, manifest, base_folder(tiny_base))
    good, bad = open_local_reward(trained, None, torch.device("cpu")).spread([GOOD, BAD])
    assert good is not None and bad is not None and good.reward > bad.reward
    assert good.std > 0


def test_the_service_certifies_it(trained: Path) -> None:
    loaded = load_model(ModelSpec("tiny", str(trained), "torch", "float32", "cpu"))
    assert loaded.certificate.passed
    loaded.backend.close()


def test_the_share_of_ties_is_written_down(manifest: Manifest) -> None:
    assert 0 < manifest.parents["davidson_nu"]["quality"] < 3


def test_the_average_of_runs_is_the_average_of_their_weights(tiny_base: BaseConfig) -> None:
    lora = LoraConfig(rank=2, alpha=4, layers=(1, 2))
    folder = base_folder(tiny_base)

    def weights(lora: LoraConfig, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        model = build_model(folder, tiny_base.package, 1, lora, seed=3)
        model.load_state_dict(state, strict=False)
        return {name: p.detach() for name, p in model.merge_and_unload().named_parameters()}

    runs = [_state(folder, tiny_base, lora, seed) for seed in range(3)]
    merged = [weights(lora, run) for run in runs]
    averaged = weights(replace(lora, rank=6, alpha=12), average_runs(runs))
    for name, value in averaged.items():
        expected = torch.stack([m[name] for m in merged]).mean(0)
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)
    assert not torch.equal(merged[0]["classifier.weight"], merged[1]["classifier.weight"])


def _state(folder: Path, base: BaseConfig, lora: LoraConfig, seed: int) -> dict[str, torch.Tensor]:
    """Trained parameters, each moved at random."""
    model = build_model(folder, base.package, 1, lora, seed=3)
    torch.manual_seed(seed)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return {name: p.detach() + 0.1 * torch.randn_like(p) for name, p in named}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"objective": {"kind": "listwise"}}, "objective.kind must be one of pairwise"),
        ({"optim": {"epochs": 0}}, r"optim\.epochs must be at least 1"),
        ({"optim": {"learning_rate": -1.0}}, r"optim\.learning_rate must be above 0"),
        ({"optim": {"num_threads": 0}}, r"optim\.num_threads must be at least 1"),
        ({"optim": {"centring": -1.0}}, r"optim\.centring must be at least 0"),
        ({"heads": []}, "heads must name at least one head"),
        ({"heads": [{"name": "directions", "sources": []}]}, "heads must be named none of calibration, dir"),
        ({"profiles": {}}, "profiles must hold at least one profile"),
        (
            {"profiles": {"only": {"kindness": 1.0}}},
            "profiles weigh kindness, which heads lacks; it has quality",
        ),
        ({"profiles": {"only": {"quality": 0.0}}}, "profiles must each weigh a head other than 0"),
        ({"lora": {"rank": 4, "layers": [1, 9]}}, r"lora\.layers is \[1, 9\]; the base's layers are 0 to 2"),
        ({"lora": {"rank": 0, "layers": [1]}}, r"lora\.rank must be at least 1"),
        ({"max_tokens": 8}, r"no pair of train\.jsonl for the head quality fits max_tokens = 8; raise it"),
        ({"max_tokens": 7}, "max_tokens must be at least 8"),
        ({"profiles": {"only": {"quality": float("inf")}}}, "profiles must each weigh .* all of them finite"),
        ({"objective": {"margin_scale": 2.0}}, "objective.margin_scale is the unit of objective.margin"),
        ({"objective": {"margin": "margin"}}, "no record of data.train has a margin above 0"),
        ({"objective": {"flip_rates": "none.json"}}, "none.json is not an audit's report"),
        (
            {"heads": [{"name": "quality", "sources": [{"source": "other", "licence": "x"}]}]},
            r"heads name 'other' as a source, of which no file of data has a pair; they have 'made'\. Spell",
        ),
        ({"max_tokens": 9999}, r"max_tokens is 9999, but the base reads \d+ at most; lower it"),
    ],
)
def test_what_cannot_train_stops_before_the_first_step(
    tiny_base: BaseConfig, tmp_path: Path, sections: dict[str, object], message: str
) -> None:
    write_pairs(tmp_path, num=24)
    with pytest.raises(InvalidInput, match=message):
        train(tmp_path, config(tiny_base) | sections)
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize(
    ("told", "limit"),
    [("MemTotal: 900000 kB\nMemAvailable: 9 kB\n", "max\n"), ("MemAvailable: 900000 kB\n", "90000\n")],
)
def test_states_that_memory_cannot_hold_are_refused_before_they_are_computed(
    tiny_base: BaseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, limit: str
) -> None:
    group = {"memory.max": limit, "memory.current": "81000\n", "memory.stat": "anon 7\ninactive_file 216\n"}
    for name, text in (("meminfo", told), *group.items()):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.available_bytes() == 9216  # pages of files are given up, the rest is taken
    write_pairs(tmp_path)
    with pytest.raises(InvalidInput, match=r"tokens would take .* GiB, and .* are free; give fewer pairs"):
        train(tmp_path, config(tiny_base))
    assert not (tmp_path / "artifact").exists()


def test_a_machine_that_tells_no_memory_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", Path("absent"))
    monkeypatch.setattr(memory, "GROUP", Path("absent"))
    assert memory.available_bytes() == float("inf")


def test_the_processes_of_a_machine_share_its_memory(
    tiny_base: BaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, base = Rows((PairTokens((1,) * 100, 2),), (), (), ()), base_folder(tiny_base)
    needed = 2 * 100 * AutoConfig.from_pretrained(base).hidden_size * 2  # two splits, two bytes a number
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)
    memory.check_memory((rows, rows), base)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InvalidInput, match="GiB in 2 processes, and"):
        memory.check_memory((rows, rows), base)


def test_memory_is_asked_for_once_and_what_a_run_gave_back_is_not_missed(
    tiny_base: BaseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([2.0**40, 0.0])
    monkeypatch.setattr(memory, "available_bytes", lambda: next(told))
    write_pairs(tmp_path)
    values = config(tiny_base)
    train(tmp_path, values | {"optim": values["optim"] | {"epochs": 1}, "ensemble": {"runs": 2}})
    frozen = {"lora": {"layers": []}, "pooling": "response", "optim": {"l2": 0.1, "num_threads": 1}}
    train(tmp_path, values | frozen | {"output": "frozen"})  # keeps no states
    assert next(told) == 0.0


def test_a_base_that_lacks_weights_is_refused(tiny_base: BaseConfig, tmp_path: Path) -> None:
    base, lost = (
        shutil.copytree(base_folder(tiny_base), tmp_path / "base"),
        "encoder.layer.1.output.dense.weight",
    )
    tensors = load_file(base / "model.safetensors")
    del tensors[next(name for name in tensors if name.endswith(lost))]
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidInput, match=rf"base holds no bert\.{lost}, and a random one would be used"):
        build_model(base, tiny_base.package, 1, LoraConfig(), seed=1)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"source": "mode"}, "name 'mode' as a source, of which no file .* they have '2nd', 'made'. Spell"),
        (
            {"source": "2nd", "subsets": ["b"]},
            "name 'b' as a subset of source '2nd', .* they have 'a'. Spell",
        ),
        ({"source": "2nd"}, "valid.jsonl has no pair for the head second .its sources: 2nd."),
    ],
)
def test_a_misspelt_source_is_refused_with_those_that_there_are(
    tiny_base: BaseConfig, tmp_path: Path, second: dict[str, Any], message: str
) -> None:
    write_pairs(tmp_path, num=6)
    path = tmp_path / "train.jsonl"
    path.write_text(path.read_text("utf-8").replace('"made"', '"2nd", "subset": "a"', 3), "utf-8")
    sources: dict[str, dict[str, Any]] = {"quality": {"source": "made"}, "second": second}
    heads = [{"name": name, "sources": [source | {"licence": "x"}]} for name, source in sources.items()]
    with pytest.raises(InvalidInput, match=message):
        train(tmp_path, config(tiny_base) | {"heads": heads})


def test_valid_pairs_of_few_prompts_are_refused_before_the_first_step_as_calibrate_refuses_them(
    tiny_base: BaseConfig, tmp_path: Path
) -> None:
    write_pairs(tmp_path)
    path = tmp_path / "valid.jsonl"
    path.write_text("\n".join(path.read_text("utf-8").splitlines()[:19]), "utf-8")
    with pytest.raises(
        InvalidInput, match=r"valid\.jsonl has 19 usable pairs of 1\d prompts, too few"
    ) as refused:
        train(tmp_path, config(tiny_base))
    assert refused.value.param == "data.valid"
    assert not (tmp_path / "artifact").exists()


def test_what_no_head_takes_is_counted_by_file_and_source(
    tiny_base: BaseConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path)
    for split, num in (("valid", 7), ("test", 3)):
        path = tmp_path / f"{split}.jsonl"
        path.write_text(path.read_text("utf-8").replace('"made"', '"2nd"', num).replace('"2nd"', '"3rd"', 1))
    train(tmp_path, config(tiny_base, optim={"epochs": 1, "num_threads": 1}))
    what = "left out pairs of sources that no head names"
    said = [line for line in capsys.readouterr().err.splitlines() if what in line]
    assert [line.partition(": ")[2] for line in said] == [
        f"{what}: 6 of '2nd', 1 of '3rd'",
        f"{what}: 2 of '2nd', 1 of '3rd'",
    ]
    assert [Path(line.partition(":")[0]).name for line in said] == ["valid.jsonl", "test.jsonl"]


def test_ties_that_train_and_measure_nothing_are_counted(
    tiny_base: BaseConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path)
    train(tmp_path, config(tiny_base, optim={"epochs": 1, "num_threads": 1}))
    said = [line for line in capsys.readouterr().err.splitlines() if "that tie" in line]
    assert said == ["train.jsonl: left out 7 pairs that tie: they prefer neither response"]


def test_few_tokens_leave_out_the_golden_texts_that_do_not_fit_and_an_export_of_before_goes(
    tiny_base: BaseConfig, tmp_path: Path
) -> None:
    write_pairs(tmp_path)
    stale = tmp_path / "artifact" / "onnx" / "fp32.onnx"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of the model before")
    artifact = train(tmp_path, config(tiny_base, optim={"epochs": 1, "num_threads": 1}) | {"max_tokens": 16})
    kept = [json.loads(line)["response"] for line in (artifact / "golden.jsonl").read_text().splitlines()]
    assert "Buy a car." in kept and 1 < len(kept) < len(TEXTS)
    assert not stale.parent.exists()


def test_a_test_split_that_nothing_of_fits_stops_it_before_the_first_step(
    tiny_base: BaseConfig, tmp_path: Path
) -> None:
    write_pairs(tmp_path)
    path = tmp_path / "test.jsonl"
    path.write_text(path.read_text("utf-8").replace("the answer is", "the answer is" + " very" * 60), "utf-8")
    with pytest.raises(InvalidInput, match=r"no pair of test\.jsonl for the head quality fits"):
        train(tmp_path, config(tiny_base))
    assert not (tmp_path / "artifact").exists()


def test_flip_rates_of_an_audit_reach_records_without_a_source_and_no_others_in_silence(
    tiny_base: BaseConfig, tmp_path: Path
) -> None:
    write_pairs(tmp_path)
    for split in ("train", "valid", "test"):
        path = tmp_path / f"{split}.jsonl"
        text = path.read_text("utf-8").replace('"source": "made", ', "")
        path.write_text(text.replace('{"chosen": 2, "rejected": 1}', '{"chosen": 5, "rejected": 1}'), "utf-8")
    report = tmp_path / "audit.json"
    report.write_text(report_json(audit(read_records([tmp_path / "train.jsonl"]))), "utf-8")
    values = config(tiny_base, objective={"flip_rates": str(report)})
    values["heads"] = [{"name": "quality", "sources": [{"source": "", "licence": "our own"}]}]
    rate = read_flip_rates(report, {"train.jsonl"}, print)["train.jsonl"]
    assert 0 < rate < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        found = tagged_splits(build_config(RewardConfig, values), print)["train"]
        assert {t.target.label for t in found} == {1.0 - rate}
        Path("train.jsonl").rename("other.jsonl")
        values["data"] |= {"train": "other.jsonl"}
        said = "has flip rates of train.jsonl, and of nothing that trains, which is other.jsonl; audit these"
        with pytest.raises(InvalidInput, match=said):
            tagged_splits(build_config(RewardConfig, values), print)


def test_a_record_without_a_source_is_named(tiny_base: BaseConfig, tmp_path: Path) -> None:
    write_pairs(tmp_path, num=6)
    path = tmp_path / "train.jsonl"
    lines = path.read_text("utf-8").splitlines()
    lines[2] = lines[2].replace('"source": "made", ', "")
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InvalidInput, match=r"train\.jsonl:3 has no source.*add source"):
        train(tmp_path, config(tiny_base))


PROMPT = '{"prompt": [{"role": "user", "content": "why ?"}], "source": "made", '


@pytest.mark.parametrize(
    ("lines", "objective", "message"),
    [
        (
            ['"chosen": "good", "rejected": "bad"}'] * 2,
            "pairwise",
            r"all 2 pairs of the head quality from .*:1 on prefer one",
        ),
        (
            ['"chosen": "good", "rejected": "bad", "votes": {"tie": 3}}'],
            "davidson",
            r"all 1 pairs of the head quality from .*:1 on tie",
        ),
        (['"chosen": "good", "rejected": "bad", "votes": {"tie": 3}}'], "pairwise", "every record ties"),
    ],
)
def test_one_class_of_pairs_stops_before_the_first_step(
    tiny_base: BaseConfig, tmp_path: Path, lines: Sequence[str], objective: str, message: str
) -> None:
    write_pairs(tmp_path, num=6)
    (tmp_path / "train.jsonl").write_text("\n".join(PROMPT + line for line in lines), "utf-8")
    with pytest.raises(InvalidInput, match=rf"train\.jsonl.*{message}"):
        train(tmp_path, config(tiny_base, objective={"kind": objective}))


def test_a_base_of_one_label_is_given_more_heads_in_silence(
    tiny_base: BaseConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)  # it has a handler of its own
    folder = shutil.copytree(base_folder(tiny_base), tmp_path / "base")
    values = json.loads((folder / "config.json").read_text("utf-8"))
    labels = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}
    (folder / "config.json").write_text(json.dumps(values | labels), "utf-8")
    assert load_classifier(folder, 2).classifier.out_features == 2
    assert caplog.text == ""


def test_a_head_begins_with_outputs_of_unit_size(tiny_base: BaseConfig) -> None:
    model = build_model(base_folder(tiny_base), tiny_base.package, 400, LoraConfig(rank=2, layers=(1,)), 0)
    head: Any = model.get_base_model().classifier
    weight = head.modules_to_save["default"].weight.detach()
    assert float(weight.std()) == pytest.approx((weight.shape[1] + 1) ** -0.5, rel=0.03)
    assert not head.modules_to_save["default"].bias.any()
