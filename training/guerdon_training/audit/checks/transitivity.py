"""Answers to one prompt that beat each other in a circle."""

from collections.abc import Mapping, Set

from guerdon_service.core.statistics.noise import flip_rate_of_cycles
from guerdon_service.core.statistics.rates import wilson
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "transitivity", "Intransitive cycles"

FAIL_ABOVE = 0.1875
"""Share of cyclic triples (lower end) at which the flip rate is 0.25: e (1 - e)."""

Beats = Mapping[str, Set[str]]


def check_transitivity(records: Records) -> Check:
    """Cycles of three or more answers, and the flip rate that cyclic triples imply.

    Comparisons labelled both ways are left out: `swapped_labels` counts those.
    """
    graphs = _graphs(records.preferred)
    triples, cyclic = (
        (sum(n) for n in zip(*(_triples(beats) for beats, _ in graphs), strict=True)) if graphs else (0, 0)
    )
    circular = [place for beats, place in graphs if _has_cycle(beats)]
    if not any(len(beats) > 2 for beats, _ in graphs):
        return not_applicable(NAME, TITLE, "no prompt has three answers that are compared with one another")
    findings = [Finding("prompts with a cycle", len(circular), "rows", num=len(graphs))]
    if triples:
        share = wilson(cyclic, triples)
        findings.append(Finding("cyclic triples", share.value, "share", "", share, triples))
        findings.append(
            Finding("flip rate that the triples imply", flip_rate_of_cycles(share.value), "share")
        )
    low = wilson(cyclic, triples).low if triples else 0.0
    verdict = Verdict.FAIL if low > FAIL_ABOVE else Verdict.WARN if circular else Verdict.PASS
    reason = f"{len(circular)} of {len(graphs)} prompts with several comparisons have a cycle"
    return Check(NAME, TITLE, verdict, reason, tuple(findings), tuple(circular[:MAX_PLACES]))


def _graphs(records: Records) -> list[tuple[Beats, str]]:
    """Per prompt with at least two comparisons: each answer to the answers it beat, and the first place."""
    edges: dict[str, dict[str, set[str]]] = {}
    places: dict[str, str] = {}
    for pair, (prompt, chosen, rejected) in zip(records.pairs, records.pair_keys, strict=True):
        if chosen != rejected:
            edges.setdefault(prompt, {}).setdefault(chosen, set()).add(rejected)
            edges[prompt].setdefault(rejected, set())
            places.setdefault(prompt, str(pair.place))
    graphs: list[tuple[Beats, str]] = []
    for prompt, beats in edges.items():
        clear = {a: {b for b in losers if a not in beats[b]} for a, losers in beats.items()}
        if sum(map(len, clear.values())) > 1:
            graphs.append((clear, places[prompt]))
    return graphs


def _triples(beats: Beats) -> tuple[int, int]:
    """Triples of answers compared with one another, and how many of them are cyclic."""
    paths = [(a, b, c) for a, losers in beats.items() for b in losers for c in beats[b]]
    cyclic = sum(a in beats[c] for a, b, c in paths) // 3  # found once from each of its answers
    return sum(c in beats[a] for a, b, c in paths) + cyclic, cyclic


def _has_cycle(beats: Beats) -> bool:
    """Kahn (1962): answers that nobody left beats are taken away; a cycle is what remains."""
    beaten_by = dict.fromkeys(beats, 0)
    for losers in beats.values():
        for loser in losers:
            beaten_by[loser] += 1
    free = [a for a, num in beaten_by.items() if num == 0]
    removed = 0
    while free:
        removed += 1
        for loser in beats[free.pop()]:
            beaten_by[loser] -= 1
            if beaten_by[loser] == 0:
                free.append(loser)
    return removed < len(beats)
