"""What people's votes say of a model is said alike by its card, by calibrate, by evaluate and by the gate."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guerdon_service.app.calibration_of_pairs import fit
from guerdon_service.app.calibration_scores import HeldOut
from guerdon_service.core.calibration import Calibration
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.manifest import Head, Manifest, Norm, Profile
from guerdon_service.core.result import Provenance
from guerdon_service.evaluation.build_report import Contender, Data, build_report
from guerdon_service.evaluation.read import read_items
from guerdon_service.evaluation.table import build_table
from guerdon_service.registry.report_view import view
from guerdon_training.config import HeadConfig, SourceConfig
from guerdon_training.data import read_pairs
from guerdon_training.measure import (
    accuracies,
    calibration_figures,
    fit_calibration,
    normalised_heads,
    read_scores,
)
from guerdon_training.report.reward_quality import measure_reward
from guerdon_training.tagging import tag

SOURCE = HeadConfig("quality", (SourceConfig("people", "our own"),))
WEIGHTS = {"quality": 1.0}
NUM_PAIRS = 240


def _votes(chance: np.random.Generator, probability: float) -> dict[str, int]:
    """Of five people who prefer the first by `probability`, some of whom prefer neither; never a tie."""
    while True:
        first, second, tie = chance.multinomial(5, [0.8 * probability, 0.8 * (1.0 - probability), 0.2])
        if first != second and tie <= max(first, second):
            return {"first": int(first), "second": int(second), "tie": int(tie)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs a prompt and their raw scores; five people judged most of them, one person every fifth."""
    folder, chance = tmp_path_factory.mktemp("votes"), np.random.default_rng(3)
    pairs, scores = [], []
    for i in range(NUM_PAIRS):
        raw = chance.normal(size=2).astype(np.float32).astype(float).tolist()
        votes = _votes(chance, 1.0 / (1.0 + np.exp(raw[1] - raw[0])))
        if votes["first"] < votes["second"]:
            raw, votes = raw[::-1], votes | {"first": votes["second"], "second": votes["first"]}
        prompt = [{"role": "user", "content": f"prompt {i // 4}"}]
        pair = {"id": str(i), "prompt": prompt, "source": "people"}
        pair |= {"chosen": "yes " * (1 + i % 3), "rejected": "no " * (1 + i % 4)}
        told = {"chosen": votes["first"], "rejected": votes["second"], "tie": votes["tie"]}
        pairs.append(pair | ({"votes": told} if i % 5 else {}))
        scores.append({"split": "test", "id": str(i), "head": 0, "raw": [[x] for x in raw]})
    for name, lines in (("pairs", pairs), ("scores", scores)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _raw(folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    lines = map(json.loads, (folder / "scores.jsonl").read_text().splitlines())
    return np.array([side for line in lines for side in line["raw"]], np.float32)


def _served(calibration: Calibration, norm: Norm) -> Manifest:
    heads = (Head("quality", "quality", norm),)
    return Manifest("m", "1", heads, {"only": Profile(WEIGHTS)}, 64, encoding="pair", calibration=calibration)


def _evaluated(folder: Path, slope: float, norm: Norm) -> dict[str, Any]:
    """The report of `guerdon evaluate`, as it is stored."""
    rewards = ((_raw(folder).astype(np.float64) - norm.mean) / norm.std).reshape(-1, 2).tolist()
    scores = {str(i): ItemScores(str(i), tuple(both)) for i, both in enumerate(rewards)}
    model = Provenance("m", "1", "digest", "only", "fake", "float32")
    data = Data((folder / "pairs.jsonl",), "sha")
    report: dict[str, Any] = asdict(build_report(data, Contender(model, slope, lambda: scores), None, 0.02))
    return report


def test_card_evaluate_and_gate_measure_the_same_on_one_file(folder: Path) -> None:
    tagged = tag(read_pairs(folder / "pairs.jsonl"), [SOURCE], trained=False)
    scored = read_scores(folder / "scores.jsonl", "test", tagged)
    heads, calibration = normalised_heads(["quality"], scored), Calibration(1.3, 0.1, 99)
    on_card = calibration_figures(scored, heads, WEIGHTS, calibration)
    accuracy = accuracies(scored, ["quality"])["quality"]["pooled"]
    manifest = _served(calibration, heads[0].norm)
    quality = measure_reward(folder, manifest, [SOURCE], folder / "pairs.jsonl", {})
    report = _evaluated(folder, calibration.slope, heads[0].norm)
    found = report["candidate"]

    for name in ("ece", "brier"):
        expected = pytest.approx(found["calibration"]["error"][name], abs=1e-6)
        assert on_card[name] == expected
        assert asdict(getattr(quality.calibration, name)) == expected
    assert quality.calibration.nll.value == pytest.approx(
        found["calibration"]["error"]["nll"]["value"], abs=1e-6
    )
    of_gate = view(report).ece
    assert of_gate is not None and asdict(of_gate) == pytest.approx(on_card["ece"], abs=1e-6)
    assert accuracy["clustered"] == pytest.approx(found["overall"]["accuracy"], abs=1e-12)
    assert accuracy["accuracy"] == pytest.approx(found["overall"]["wilson"], abs=1e-12)
    over = found["length"]["over_heuristic"]
    assert accuracy["over_baseline"] == pytest.approx(over, abs=1e-12)


def test_training_and_calibrate_fit_the_same_slope(folder: Path) -> None:
    tagged = tag(read_pairs(folder / "pairs.jsonl"), [SOURCE], trained=False)
    scored = read_scores(folder / "scores.jsonl", "test", tagged)
    heads = normalised_heads(["quality"], scored)
    table = build_table(read_items([folder / "pairs.jsonl"]))
    fitted = fit(HeldOut(table, _raw(folder), ()), _served(Calibration(), Norm(0.0, 1.0)))
    trained = fit_calibration(scored, heads, WEIGHTS)
    assert asdict(fitted.heads[0].norm) == pytest.approx(asdict(heads[0].norm), rel=1e-9)
    assert asdict(trained) == pytest.approx(asdict(fitted.calibration), rel=1e-6)
    ece = calibration_figures(scored, heads, WEIGHTS, trained)["ece"]["value"]
    assert ece == pytest.approx(fitted.ece[1], abs=1e-6)
    assert fitted.accuracy == pytest.approx(
        accuracies(scored, ["quality"])["quality"]["pooled"]["accuracy"]["value"], abs=1e-12
    )
