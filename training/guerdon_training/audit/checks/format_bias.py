"""Whether the response with more markup or punctuation wins."""

import numpy as np
from numpy.typing import NDArray

from guerdon_training.audit.baseline import rule_findings, rule_verdict
from guerdon_training.audit.check import Check, Finding, not_applicable
from guerdon_training.audit.records import Pair, Records
from guerdon_training.audit.style_features import FEATURES
from guerdon_training.audit.surface_model import cross_validated_margin

NAME, TITLE = "format_bias", "Format bias"


def check_format_bias(records: Records) -> Check:
    """Accuracy of "more of it wins" for lists, bold, headers, code and punctuation; a tie scores half.

    The surface model puts length and all of these together; it is reported, not judged.
    """
    records = records.preferred
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    gaps = np.array([_gaps(p) for p in records.pairs])
    rules = [rule_findings(records, f"more {name} wins", gaps[:, i]) for i, name in enumerate(FEATURES)]
    differ = [
        Finding(f"pairs that differ in {name}", int(np.count_nonzero(gaps[:, i])), "rows", num=len(gaps))
        for i, name in enumerate(FEATURES)
    ]
    model = rule_findings(records, "surface model, cross-validated", _model(records, gaps))
    overall, by_source = [rule[0] for rule in rules], [f for rule in rules for f in rule[1:]]
    verdict, reason = rule_verdict([*overall, *by_source])
    return Check(NAME, TITLE, verdict, reason, (*overall, *model, *differ, *by_source))


def _gaps(pair: Pair) -> list[float]:
    """Each of `FEATURES` in chosen less that in rejected."""
    return [float(count(pair.chosen) - count(pair.rejected)) for count in FEATURES.values()]


def _model(records: Records, gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Margins [pairs] of a model on the log of the length ratio and the sign of each gap, one per source."""
    ratio = [np.log((len(p.chosen) + 1) / (len(p.rejected) + 1)) for p in records.pairs]
    features = np.column_stack([ratio, np.sign(gaps)])
    sources = np.array([p.source for p in records.pairs])
    margins = np.zeros(len(gaps))
    for source in set(sources.tolist()):
        rows = np.flatnonzero(sources == source)
        prompts = [records.pair_keys[i][0] for i in rows.tolist()]
        margins[rows] = cross_validated_margin(features[rows], prompts)
    return margins
