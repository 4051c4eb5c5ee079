"""How far annotators agree beyond chance."""

from itertools import combinations

import numpy as np

from guerdon_service.core.statistics.agreement import krippendorff_alpha
from guerdon_service.core.statistics.kappa import cohen_kappa, fleiss_kappa
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable, worst
from guerdon_training.audit.rated import Rated, rated_groups
from guerdon_training.audit.records import Records

NAME, TITLE = "agreement", "Agreement between annotators"

PASS_FROM = 0.667
"""Krippendorff (2004): the lowest alpha from which tentative conclusions are acceptable; 0.8 is reliable."""

MAX_NAMED = 12  # annotators above which the table of pairs is no longer readable
MIN_SHARED = 20  # items that two annotators must share for a Cohen kappa


def check_agreement(records: Records) -> Check:
    """Krippendorff's alpha with its interval, Fleiss and Cohen kappa, for each group of judgements."""
    groups = rated_groups(records.judgements)
    if not groups:
        return not_applicable(NAME, TITLE, "no item has two labels")
    findings: list[Finding] = []
    verdicts, phrases = [], []
    for rated in groups:
        alpha = krippendorff_alpha(rated.items, rated.given, ordinal=rated.ordinal)
        scale = "ordinal" if rated.ordinal else "nominal"
        num = len(rated.item_names)
        findings.append(
            Finding(f"Krippendorff alpha, {scale}", alpha.value, "coefficient", rated.group, alpha, num)
        )
        if rated.ordinal:
            nominal = krippendorff_alpha(rated.items, rated.given, ordinal=False)
            findings.append(
                Finding(
                    "Krippendorff alpha, nominal", nominal.value, "coefficient", rated.group, nominal, num
                )
            )
        findings += [*_fleiss(rated), *_cohen(rated)]
        verdicts.append(
            Verdict.PASS if alpha.value >= PASS_FROM else Verdict.WARN if alpha.low > 0 else Verdict.FAIL
        )
        phrases.append(f"{rated.group}: alpha {alpha.value:.3f} [{alpha.low:.3f}, {alpha.high:.3f}]")
    return Check(NAME, TITLE, worst(*verdicts), "; ".join(phrases), tuple(findings))


def _fleiss(rated: Rated) -> list[Finding]:
    """On the items that have the commonest number of labels."""
    per_item = rated.num_labels
    sizes, num_items = np.unique(per_item[per_item >= 2], return_counts=True)
    size = int(sizes[num_items.argmax()])
    order = np.argsort(rated.items, kind="stable")
    kept = order[per_item[rated.items[order]] == size]
    labels = rated.given[kept].reshape(-1, size)
    name = f"Fleiss kappa, {size} labels per item"
    return [Finding(name, fleiss_kappa(labels), "coefficient", rated.group, num=len(labels))]


def _cohen(rated: Rated) -> list[Finding]:
    if not 2 <= len(rated.annotator_names) <= MAX_NAMED:
        return []
    table = np.full((len(rated.annotator_names), len(rated.item_names)), -1, np.int64)
    table[rated.annotators, rated.items] = rated.given
    findings = []
    for i, j in combinations(range(len(table)), 2):
        both = (table[i] >= 0) & (table[j] >= 0)
        if both.sum() >= MIN_SHARED:
            kappa = cohen_kappa(table[i][both], table[j][both], len(rated.labels))
            name = f"Cohen kappa, {rated.annotator_names[i]} and {rated.annotator_names[j]}"
            findings.append(Finding(name, kappa, "coefficient", rated.group, num=int(both.sum())))
    return findings
