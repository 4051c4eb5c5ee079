"""The measurements and plots behind cards and report, against planted truths."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.manifest import Head, Manifest, Norm, Profile
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_training.card import ties_left_out
from guerdon_training.config import HeadConfig, SourceConfig
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.measure import accuracies, by_attribute, read_scores
from guerdon_training.pipeline.cards import noise_ceilings
from guerdon_training.pipeline.compare import Answer, summary
from guerdon_training.report.measured import Measured, read_measured, write_measured
from guerdon_training.report.pipeline_report import verdict
from guerdon_training.report.plots import Series, line_plot
from guerdon_training.report.policy_card import compared, left_out, policy_card
from guerdon_training.report.reward_quality import measure_reward
from guerdon_training.report.reward_tables import accuracy_table
from guerdon_training.report.robustness import measure_robustness
from guerdon_training.report.slices import measure_slices
from guerdon_training.report.table import Table
from guerdon_training.report.training_curves import over_optimisation
from guerdon_training.report.transforms import REFUSAL, TRANSFORMS
from guerdon_training.tagging import tag

HEADS = (HeadConfig("quality", (SourceConfig("votes", "our own"), SourceConfig("crowd", "our own"))),)


class Planted:
    """`RewardSource` of a rule; refuses an empty response."""

    identity: Mapping[str, str] = {}

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        return [self._one(c.response) if c.response else None for c in conversations]

    def _one(self, response: str) -> float:
        return (
            10.0 * response.startswith(REFUSAL[:9])
            if self.rule == "refusal"
            else float(len(response.split()))
        )


def _pairs(num: int) -> list[PreferencePair]:
    return [
        PreferencePair(str(i), (Message("user", f"prompt {i}"),), "a b c d e f g h", "a b c", "made", "")
        for i in range(num)
    ]


def test_a_reward_that_falls_for_refusals_is_seen() -> None:
    found = {r.transform: r for r in measure_robustness(Planted("refusal"), _pairs(12), seed=0)}
    assert set(found) == set(TRANSFORMS)
    prefix = found["refusal prefix"]
    assert prefix.change is not None
    assert (prefix.change.value, prefix.change.low) == (10.0, 10.0)
    assert found["filler"].change is not None
    assert found["filler"].change.value == 0.0
    assert (found["empty"].change, found["empty"].num_refused) == (None, 12)


def test_a_reward_that_falls_for_length_is_seen() -> None:
    found = {r.transform: r for r in measure_robustness(Planted("length"), _pairs(12), seed=0)}
    assert found["repeated answer"].change is not None
    assert found["repeated answer"].change.value == 3.0
    assert found["filler"].overtakes is not None
    assert found["filler"].overtakes.value == 1.0
    assert found["whitespace"].overtakes is not None
    assert found["whitespace"].overtakes.value == 0.0


@pytest.mark.parametrize("name", [n for n, t in TRANSFORMS.items() if t.keeps_meaning])
def test_a_transform_that_keeps_the_meaning_keeps_the_words(name: str) -> None:
    text = "Boil water. Wait seven minutes. Cool it."
    changed = TRANSFORMS[name].apply("How?", text, Random(0))
    assert changed != text
    assert re.findall(r"\w+", changed)[-7:] == re.findall(r"\w+", text)[-7:]


def test_typos_change_letters_and_nothing_else() -> None:
    text = "several ordinary words that somebody typed in a hurry " * 5
    changed = TRANSFORMS["typos"].apply("", text, Random(0))
    assert changed != text
    assert sorted(changed) == sorted(text)


def test_groups_are_compared_by_their_own_ratings(tmp_path: Path) -> None:
    """Half of the people find long texts worse, the other half short ones; the reward likes long ones."""
    rows = [
        {
            "text": "word " * n,
            "rating": float(n if person % 2 else 9 - n),
            "annotator": str(person),
            "demographics": {"team": "short" if person % 2 else "long", "age": str(person)},
        }
        for person in range(24)
        for n in range(1, 6)
    ]
    (tmp_path / "ratings.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = measure_slices(Planted("length"), tmp_path / "ratings.jsonl", higher_is_worse=True)
    named = {(g.attribute, g.group): g for g in found}
    assert named["team", "long"].agreement.value == 1.0
    assert named["team", "short"].agreement.value == 0.0
    assert named["all", "everyone"].agreement.value == pytest.approx(0.5)
    assert named["team", "long"].num_people == 12
    assert not [g for g in found if g.attribute == "age"]


def _artifact(folder: Path, num: int) -> tuple[Manifest, Path]:
    """Scores of pairs: of the source ``votes`` 3 of 4 are right, of ``crowd`` all are."""
    pairs, scores = [], []
    for i in range(num):
        source = "votes" if i % 2 else "crowd"
        prompt = [{"role": "user", "content": f"prompt {i}"}]
        pairs.append(
            {"id": str(i), "prompt": prompt, "chosen": "long answer", "rejected": "no", "source": source}
        )
        margin = -1.0 if i % 8 == 1 else 1.0
        scores.append({"split": "test", "id": str(i), "head": 0, "raw": [[margin + 5.0], [5.0]]})
    (folder / "test.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    (folder / "scores.jsonl").write_text("".join(json.dumps(s) + "\n" for s in scores))
    heads, profiles = (Head("quality", "quality", Norm(1.0, 0.5)),), {"only": Profile({"quality": 1.0})}
    manifest = Manifest(
        "m", "1", heads, profiles, 64, encoding="pair", calibration=Calibration(np.log(7.0) / 2)
    )
    return manifest, folder / "test.jsonl"


def test_quality_is_that_of_the_stored_scores(tmp_path: Path) -> None:
    manifest, test = _artifact(tmp_path, 80)
    quality = measure_reward(tmp_path, manifest, HEADS, test, {"votes": 0.9})
    found = {a.name: a for a in quality.accuracies}
    assert {n: a.accuracy.value for n, a in found.items()} == {"all": 0.875, "votes": 0.75, "crowd": 1.0}
    assert found["votes"].share_of_ceiling == pytest.approx(0.75 / 0.9)
    assert found["crowd"].share_of_ceiling is None
    assert (found["all"].longer, found["all"].shorter) == (1.0, 0.0)
    assert quality.calibration.ece.value == pytest.approx(0.0, abs=1e-9)  # sigmoid(log 7 / 2 * 2) is 7 / 8
    assert quality.calibration.brier.value == pytest.approx(7 / 64)


def test_how_many_responses_end_has_the_interval_of_a_rate() -> None:
    """Of 20 that all ended a bootstrap would be certain."""
    answers = [Answer("sft", i, "s", "text", 3, True, 0.0, 0.0, {"gold": 1.0}) for i in range(20)]
    assert summary(answers)["policies"]["sft"]["finished"] == asdict(clustered_rate([1.0] * 20, range(20)))


def test_refused_pairs_count_as_in_the_recipe(tmp_path: Path) -> None:
    """One half of each subset's pairs, though no calibration nor correlation with length knows them."""
    manifest, test = _artifact(tmp_path, 80)
    before = measure_reward(tmp_path, manifest, HEADS, test, {})
    for i in range(80, 120):  # every other one of crowd, all of which were right
        prompt = [{"role": "user", "content": f"prompt {i}"}]
        pair = {"id": str(i), "prompt": prompt, "chosen": "x", "rejected": "yes", "source": "crowd"}
        scores = {"split": "test", "id": str(i), "head": 0, "raw": None}
        for path, line in ((test, pair), (tmp_path / "scores.jsonl", scores)):
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
    quality = measure_reward(tmp_path, manifest, HEADS, test, {})
    found = {a.name: a for a in quality.accuracies}
    tagged = tag(read_pairs(test), HEADS, trained=False)
    stored = by_attribute(read_scores(tmp_path / "scores.jsonl", "test", tagged), manifest.heads)
    of_recipe = accuracies(stored, ["quality"])["quality"]
    for name, subset in (("pooled", found["all"]), ("votes", found["votes"]), ("crowd", found["crowd"])):
        expected = of_recipe[name]
        assert (subset.num_pairs, subset.num_refused) == (expected["num_pairs"], expected["num_refused"])
        assert asdict(subset.accuracy) == expected["accuracy"]
        assert (subset.longer, subset.shorter) == (expected["longer"]["value"], expected["shorter"]["value"])
    assert (found["crowd"].num_refused, found["crowd"].accuracy.value) == (40, 0.75)
    assert quality.calibration == before.calibration
    assert (
        quality.length_correlation
        == before.length_correlation
        == {"quality": of_recipe["pooled"]["length_correlation"]}
    )
    assert accuracy_table(quality).rows[0][-1] == "40"


def test_a_profile_is_judged_on_the_pairs_that_it_is_meant_for(tmp_path: Path) -> None:
    """Pairs of an attribute that it does not weigh, all of which it orders wrongly, change nothing of it."""
    manifest, test = _artifact(tmp_path, 80)
    expected = measure_reward(tmp_path, manifest, HEADS, test, {}).calibration
    others = [HeadConfig("other", (SourceConfig("others", "our own"),))]
    for i in range(40):
        prompt = [{"role": "user", "content": f"another {i}"}]
        pair = {"id": f"o{i}", "prompt": prompt, "chosen": "yes", "rejected": "no", "source": "others"}
        scores = {"split": "test", "id": f"o{i}", "head": 1, "raw": [[1.0, 2.0], [5.0, 0.0]]}
        for path, line in ((test, pair), (tmp_path / "scores.jsonl", scores)):
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line["raw"] = [[*row, 0.0][:2] for row in line["raw"]]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    manifest = replace(manifest, heads=(*manifest.heads, Head("other", "other", Norm(0.0, 1.0))))
    found = measure_reward(tmp_path, manifest, (*HEADS, *others), test, {})
    assert found.calibration == expected
    assert [a.accuracy.value for a in found.accuracies if a.attribute == "other"] == [1.0, 1.0]


def test_what_was_measured_is_read_back(tmp_path: Path) -> None:
    manifest, test = _artifact(tmp_path, 24)
    quality = measure_reward(tmp_path, manifest, HEADS, test, {})
    measured = Measured(quality, measure_robustness(Planted("length"), _pairs(4), 0), [])
    write_measured(tmp_path / "measured.json", measured)
    assert read_measured(tmp_path / "measured.json") == measured


def test_a_ceiling_is_that_of_the_annotations() -> None:
    def finding(group: str, name: str, value: float) -> dict[str, object]:
        return {"group": group, "name": name, "value": value}

    findings = [
        finding("a", "ceiling against one label, even noise", 0.8),
        finding("a (pair votes)", "ceiling against one label, even noise", 0.95),
        finding("a", "ceiling against one label, uneven noise", 0.7),
        finding("b", "ceiling against the majority of 3, even noise", 0.9),
        finding("b", "ceiling against one label, even noise", 0.85),
        finding("b", "agreement of two annotators", 0.7),
    ]
    report = {"checks": [{"name": "noise_ceiling", "findings": findings}]}
    assert noise_ceilings(report) == {"a": 0.8, "b": 0.9}


def test_a_comparison_says_where_gold_chose_what_it_compares() -> None:
    assert "gold chose" not in compared({"num_prompts": 7, "kept_by_gold": False})
    assert "gold chose on the\nvalid prompts" in compared({"num_prompts": 7, "kept_by_gold": True})


@pytest.mark.parametrize(
    ("algorithm", "said"), [("ppo", "proximal policy optimisation"), ("rloo", "leave-one-out baseline")]
)
def test_a_card_names_the_algorithm_and_no_update_twice(algorithm: str, said: str) -> None:
    interval = {"value": 0.0, "low": 0.0, "high": 0.0}
    figures = dict.fromkeys(("kl", "kl_k3", "tokens", "finished"), interval)
    comparison = {"num_prompts": 1, "policies": {"sft": figures | {"rewards": {}}}}
    parents = {
        "config": {"algorithm": algorithm},
        "base": {"source": "x", "weights_sha256": ""},
        "config_sha256": "",
        "data_sha256": {},
        "git_revision": "",
        **dict.fromkeys(("torch", "transformers", "peft", "accelerate"), "1"),
    }
    manifest = Manifest(
        "m", "1", (), {}, 64, kind="policy", parents=parents, metrics={"updates": 1, "kept_update": 1}
    )
    card = policy_card("ppo", manifest, comparison, [{"update": 1.0, "objective/score": 2.5}], [])
    assert said in card.splitlines()[2]
    assert card.count("2.500") == 1


def test_records_without_a_source_have_a_name_on_the_card(tmp_path: Path) -> None:
    manifest, test = _artifact(tmp_path, 24)
    test.write_text(test.read_text("utf-8").replace('"source": "crowd"', '"source": ""'), "utf-8")
    heads = (HeadConfig("quality", (SourceConfig("votes", ""), SourceConfig("", ""))),)
    quality = measure_reward(tmp_path, manifest, heads, test, {})
    assert {a.name for a in quality.accuracies} == {"all", "votes", "(no source)"}


def test_a_card_says_what_was_too_long() -> None:
    counted = {"num_train_too_long": 3, "num_valid_too_long": 0, "num_test_too_long": 1}
    assert left_out(counted) == " Too long for `max_tokens`, and left out: 3 of train, 1 of test."
    assert left_out({"num_train_too_long": 0}) == left_out({}) == ""
    ties = {"num_train_ties": 0, "num_valid_ties": 2, "num_test_ties": 1}
    said = " Ties, which prefer neither response, are left out: 2 of valid, 1 of test."
    assert (ties_left_out(ties), ties_left_out(counted)) == (said, "")


def test_points_are_drawn_where_they_belong() -> None:
    svg = line_plot("t", "x", [Series("s", [0, 1, 2], [0.0, 10.0, 5.0])])
    points = [tuple(map(float, p.split(","))) for p in re.findall(r'points="([^"]+)"', svg)[0].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(2 * (y0 - y2))  # up is towards 0


def test_what_is_not_finite_is_left_out() -> None:
    assert line_plot("t", "x", [Series("s", [0, 1], [float("nan"), float("-inf")])]) == ""
    assert line_plot("t", "x", [Series("s", [0, 1, 2], [1.0, float("nan"), 3.0])]).count("<circle") == 2


def test_labels_are_escaped() -> None:
    assert "<b>" not in line_plot("<b>", "<b>", [Series("<b>", [0], [1]), Series("<b>", [1], [1])])
    assert "<b>" not in Table(("<b>",), (("<b>",),)).html()
    assert Table(("a",), (("x|y",),)).markdown().splitlines()[-1] == "| x\\|y |"


def test_the_curve_starts_at_sft_and_shows_proxy_and_gold() -> None:
    log = [
        {"update": 0, "valid/score": 1.0, "valid/gold": 2.0, "valid/kl": 0.0},
        {"update": 1, "objective/score": 9.0},
        {"update": 2, "valid/score": 3.0, "valid/gold": 2.5, "valid/kl": 4.0},
        {"update": 4, "valid/score": 5.0, "valid/gold": 1.0, "valid/kl": 9.0},
    ]
    svg = over_optimisation(log)
    assert [len(p.split()) for p in re.findall(r'points="([^"]+)"', svg)] == [3, 3]
    assert "proxy" in svg
    assert "gold" in svg
    del log[0]["valid/gold"]  # the reward refused all of SFT's responses: there is nothing to rise over
    assert "gold" not in over_optimisation(log)


@pytest.mark.parametrize(
    ("low", "high", "kl", "words"),
    [
        (0.1, 0.3, 4.0, ["rises over SFT", "within 10"]),
        (-0.3, -0.1, 4.0, ["falls below SFT"]),
        (-0.1, 0.1, 12.0, ["is not shown to differ", "beyond 10"]),
    ],
)
def test_the_summary_says_what_the_interval_shows(
    low: float, high: float, kl: float, words: list[str]
) -> None:
    rise = {"value": (low + high) / 2, "low": low, "high": high}
    figures = {"rewards": {"gold": {"over_reference": rise}}, "kl": {"value": kl}}
    sentence = verdict("ppo", {"num_prompts": 7, "policies": {"ppo": figures}})
    assert all(w in sentence for w in words), sentence
