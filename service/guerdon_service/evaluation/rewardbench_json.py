"""Results in RewardBench's own shape: a flat object of subset to score, with what names the model."""

from typing import Any

from guerdon_service.evaluation.figures import Plain


def rewardbench_json(report: Plain) -> dict[str, Any]:
    """``{model, model_type, chat_template, SUBSET: accuracy, ...}``; v2's Ties by its own score.

    Args:
        report: plain JSON, see `report.to_json`.
    """
    candidate = report["candidate"]
    bench = candidate["rewardbench"]
    scores = {
        part["name"]: part["found"]["accuracy"]["value"]
        for part in candidate["slices"]
        if part["kind"] == "subset"
    }
    if bench and bench["version"] == 2 and "Ties" in bench["sections"]:
        scores["Ties"] = bench["sections"]["Ties"]
    names = {
        "model": candidate["model"]["name"],
        "model_type": "Seq. Classifier",
        "chat_template": "tokenizer",
    }
    return {**scores, **names}
