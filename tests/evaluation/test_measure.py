"""Against plain loops, and against what the published formulas say."""

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
import pytest

from guerdon_service.core.calibration import sigmoid
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.result import Provenance
from guerdon_service.core.statistics.comparison import MIN_PROMPTS
from guerdon_service.core.statistics.length_correlation import length_correlation
from guerdon_service.evaluation.ceiling import measure_ceiling
from guerdon_service.evaluation.compare import MIN_SLICE_ITEMS, compare, compare_lengths, compare_losses
from guerdon_service.evaluation.correctness import correctness
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.measure import Judged, judge, measure
from guerdon_service.evaluation.report import ModelReport
from guerdon_service.evaluation.rewardbench import SECTIONS
from guerdon_service.evaluation.table import ItemTable, build_table

MODEL = Provenance("fake", "1", "digest", "quality", "fake", "float32")
CHANCE = np.random.default_rng(0)


def item(
    name: str, grades: Sequence[float], *, subset: str = "s", lengths: Sequence[int] = (), **more: object
) -> Item:
    texts = tuple("x" * n for n in lengths or range(1, len(grades) + 1))
    prompt = (Message("user", str(more.pop("prompt", name))),)
    return Item(name, prompt, texts, tuple(map(float, grades)), subset, **more)  # type: ignore[arg-type]


def rewards_of(table: ItemTable, scores: Mapping[str, Sequence[float] | None]) -> np.ndarray:
    return table.rewards(lambda i: ItemScores(i, None if (s := scores[i]) is None else tuple(s)))


def measured(items: Sequence[Item], scores: Mapping[str, Sequence[float] | None]) -> ModelReport:
    table = build_table(items)
    return measure(table, judge(table, MODEL, 0.7, rewards_of(table, scores)))


def test_one_rule_of_correctness() -> None:
    items = [
        item("right", (1, 0)),
        item("wrong", (0, 1)),
        item("equal", (1, 0)),
        item("refused", (1, 0)),
        item("best of four", (1, 0, 0, 0)),
        item("tied with two", (0, 1, 0, 0)),
        item("two are best", (1, 1, 0)),
        item("refused four", (1, 0, 0, 0)),
        item("matrix", (1, 1, 0, 0), styles=(0, 1, 0, 1)),
    ]
    scores = {
        "right": (2, 1),
        "wrong": (2, 1),
        "equal": (1, 1),
        "refused": None,
        "best of four": (5, 1, 2, 3),
        "tied with two": (4, 4, 4, 0),
        "two are best": (3, 1, 3),
        "refused four": None,
        "matrix": (1, 3, 2, 3),  # cells: 1>2 no, 1>3 no, 3>2 yes, 3=3 half
    }
    table = build_table(items)
    found = correctness(table, rewards_of(table, scores))
    expected = [1, 0, 0.5, 0.5, 1, 1 / 3, 0.5, 0.25, 1.5 / 4]
    assert found.tolist() == pytest.approx(expected, abs=1e-15)


def test_accuracy_and_slices_equal_plain_counts() -> None:
    items = [
        item(f"i{n}", (1, 0), subset="ab"[n % 2], prompt=f"p{n // 3}", tags=("t",) if n % 5 == 0 else (),
             demographics={"g": "x"} if n % 4 == 0 else {}, lengths=CHANCE.integers(1, 9, 2).tolist())
        for n in range(120)
    ]  # fmt: skip
    scores = {i.id: CHANCE.integers(0, 4, 2).tolist() for i in items}
    report = measured(items, scores)

    def plain(rows: Sequence[Item]) -> float:
        return float(np.mean([(np.sign(scores[i.id][0] - scores[i.id][1]) + 1) / 2 for i in rows]))

    assert report.overall.accuracy.value == pytest.approx(plain(items), abs=1e-12)
    assert (report.overall.num_items, report.overall.num_clusters) == (120, 40)
    expected = {
        ("subset", "a"): items[::2],
        ("subset", "b"): items[1::2],
        ("tag", "t"): items[::5],
        ("group", "g=x"): items[::4],
    }
    assert {(s.kind, s.name) for s in report.slices} == expected.keys()
    for part in report.slices:
        rows = expected[part.kind, part.name]
        assert part.found.accuracy.value == pytest.approx(plain(rows), abs=1e-12)
        longer = [(np.sign(len(i.responses[0]) - len(i.responses[1])) + 1) / 2 for i in rows]
        assert part.found.longer == pytest.approx(np.mean(longer), abs=1e-12)
        assert part.found.shorter == pytest.approx(1 - np.mean(longer), abs=1e-12)


def test_dependent_items_widen_the_interval() -> None:
    items = [item(f"i{n}", (1, 0), prompt=f"p{n // 10}") for n in range(100)]
    scores = {i.id: (1, 0) if n // 10 % 2 else (0, 1) for n, i in enumerate(items)}
    overall = measured(items, scores).overall
    assert overall.accuracy.high - overall.accuracy.low > 2 * (overall.wilson.high - overall.wilson.low)


def test_a_prompt_of_many_items_counts_once_in_the_accuracy_of_prompts() -> None:
    items = [item(f"i{n}", (1, 0), prompt=f"p{max(n, 16)}") for n in range(20)]
    overall = measured(items, {i.id: (1, 0) if n < 17 else (0, 1) for n, i in enumerate(items)}).overall
    assert (overall.accuracy.value, overall.of_prompts) == (0.85, 0.25)


def test_calibration_uses_votes_and_the_served_slope() -> None:
    items = [item("voted", (1, 0), votes=(2, 1), tie_votes=1.0), item("not", (0, 1))]
    report = measured(items, {"voted": (1.0, 0.5), "not": (3.0, 1.0)})
    assert report.calibration is not None
    p, q = sigmoid(0.7 * 0.5), sigmoid(0.7 * (1.0 - 3.0))
    soft = (2 + 0.5) / 4
    brier = (soft * (1 - p) ** 2 + (1 - soft) * p**2 + (q - 1) ** 2) / 2
    nll = -(soft * log(p) + (1 - soft) * log(1 - p) + log(q)) / 2
    assert report.calibration.error.brier.value == pytest.approx(brier, abs=1e-12)
    assert report.calibration.error.nll.value == pytest.approx(nll, abs=1e-12)
    assert report.calibration.num_pairs == 2


def test_a_model_of_length_alone_is_seen_through() -> None:
    items = [item(f"i{n}", (1, 0), lengths=CHANCE.integers(1, 50, 2).tolist()) for n in range(200)]
    scores = {i.id: [len(r) for r in i.responses] for i in items}
    report = measured(items, scores)
    assert report.length is not None and report.length.matched is not None
    assert report.length.correlation == pytest.approx(1.0)
    assert report.length.matched.value == pytest.approx(0.5, abs=0.02)
    assert report.overall.accuracy.value == pytest.approx(report.overall.longer)
    assert report.length.over_heuristic.high <= 1e-12 or report.length.heuristic == "longer"


def test_ties_are_no_right_or_wrong_but_should_be_close() -> None:
    items = [item("tie", (1, 1)), item("decided", (1, 0))]
    report = measured(items, {"tie": (1, 1.1), "decided": (5, 1)})
    assert report.overall.num_items == 1
    assert report.ties is not None
    assert report.ties.distance == pytest.approx(abs(sigmoid(0.7 * -0.1) - 0.5))
    assert report.ties.distance_decided == pytest.approx(sigmoid(0.7 * 4) - 0.5)


def test_style_matrix_is_that_of_rm_bench() -> None:
    """The formula of its README, with domains whose parts are averaged first."""
    items, scores = [], {}
    for n, domain in enumerate(
        ["chat", "chat", "safety-refuse", "safety-response", "safety-response", "code"]
    ):
        items.append(item(f"i{n}", (1, 1, 1, 0, 0, 0), subset=domain, styles=(0, 1, 2) * 2))
        scores[f"i{n}"] = CHANCE.normal(size=6).tolist()
    report = measured(items, scores).style
    assert report is not None
    wins = np.zeros((6, 3, 3))
    for n in range(6):
        for i in range(3):
            for j in range(3):
                wins[n, i, j] = scores[f"i{n}"][i] > scores[f"i{n}"][3 + j]
    matrix = wins.mean(axis=0)
    assert np.array(report.matrix) == pytest.approx(matrix)
    assert report.hard == pytest.approx(np.triu(matrix, 1).sum() / 3)
    assert report.easy == pytest.approx(np.tril(matrix, -1).sum() / 3)
    assert report.normal == pytest.approx(np.diag(matrix).mean())
    each = wins.mean(axis=(1, 2))
    safety = (each[2] + (each[3] + each[4]) / 2) / 2
    assert report.overall == pytest.approx(((each[0] + each[1]) / 2 + safety + each[5]) / 3)


def test_rewardbench_v1_sections() -> None:
    items, scores = [], {}
    counts = {"alpacaeval-easy": 3, "mt-bench-med": 2, "math-prm": 447, "hep-go": 164, "donotanswer": 4}
    for subset, count in counts.items():
        for n in range(count):
            items.append(item(f"{subset}{n}", (1, 0), subset=subset))
            scores[f"{subset}{n}"] = (1.0, 0.0) if n % 3 else (0.0, 1.0)
    report = measured(items, scores).rewardbench
    assert report is not None and report.version == 1
    right = {s: sum(1 for n in range(c) if n % 3) for s, c in counts.items()}
    math, code = right["math-prm"] / 447, right["hep-go"] / 164
    expected = {
        "Chat": (right["alpacaeval-easy"] + right["mt-bench-med"]) / 5,
        "Safety": right["donotanswer"] / 4,
        "Reasoning": (984 * math + 164 * code) / (984 + 164),
    }
    assert report.sections == pytest.approx(expected)
    assert report.score == pytest.approx(np.mean(list(expected.values())))
    assert sum(map(len, SECTIONS.values())) == 23


def test_rewardbench_v2_and_its_ties() -> None:
    items = [item("f1", (1, 0, 0, 0), subset="Factuality"), item("f2", (1, 0, 0, 0), subset="Factuality")]
    scores: dict[str, Sequence[float]] = {"f1": (3, 3, 1, 0), "f2": (1, 2, 3, 4)}
    prompts = {"1": ((5.0, 1.0), (4.0, 3.5, 1.0, 0.0)), "2": ((1.0, 2.0), (4.0, 1.0, 0.5, 0.0)),
               "3": ((3.0, 2.9), (2.0, 2.0, 1.0, 1.0))}  # fmt: skip
    for name, (ref, tied) in prompts.items():
        items += [
            item(f"ref:{name}", (1, 0), subset="Ties"),
            item(f"tied:{name}", (1, 1, 0, 0), subset="Ties"),
        ]
        scores |= {f"ref:{name}": ref, f"tied:{name}": tied}
    report = measured(items, scores).rewardbench
    assert report is not None and report.version == 2
    spread, gap = np.array([0.5, 3.0, 0.0]), np.array([2.5, 0.5, 1.0])
    ref_gap = np.array([4.0, -1.0, 0.1])
    hard = np.minimum(gap, ref_gap)
    spreads = spread > 0  # RewardBench leaves out the margin of right answers that do not differ
    margin = np.tanh(hard[spreads] / spread[spreads] - 1)
    ties = (
        0.3 * (gap > 0).mean()
        + 0.3 * (ref_gap > 0).mean()
        + 0.2 * (gap > spread).mean()
        + 0.2 * (hard > spread).mean()
        + 0.01 * margin.mean()
    )
    assert report.sections == pytest.approx({"Factuality": 0.25, "Ties": ties})


def test_other_subsets_are_not_rewardbench() -> None:
    assert measured([item("a", (1, 0))], {"a": (1, 0)}).rewardbench is None
    assert measured([item("a", (1, 0), subset="Safety")], {"a": (1, 0)}).rewardbench is None


def test_undecided_items_are_not_rewardbench() -> None:
    items = [item("f", (1, 0, 0, 0), subset="Factuality"), item("ref:1", (1, 1), subset="Ties")]
    assert measured(items, {"f": (3, 2, 1, 0), "ref:1": (1, 0)}).rewardbench is None


def test_one_prompt_shows_nothing_of_others() -> None:
    items = [item(f"i{n}", (1, 0), prompt="p", lengths=(n + 1, 9)) for n in range(20)]
    scores = {i.id: (1, 0) if n % 4 else (0, 1) for n, i in enumerate(items)}
    report = measured(items, scores)
    assert report.length is not None and report.calibration is not None
    over, ece = report.length.over_heuristic, report.calibration.error.ece
    assert (over.low, over.high, ece.low, ece.high) == (-1.0, 1.0, 0.0, 1.0)
    table = build_table(items)
    judged = [judge(table, MODEL, 1.0, rewards_of(table, s)) for s in (scores, {i.id: (1, 0) for i in items})]
    assert compare_losses(table, *judged) is None


def test_ceiling_of_three_even_voters() -> None:
    """Votes 2:1 everywhere: two voters agree in one of three pairs of votes."""
    table = build_table([item(f"i{n}", (1, 0), votes=(2, 1)) for n in range(10)])
    report = measure_ceiling(table, np.array([1.0] * 8 + [0.0] * 2))
    assert report is not None
    assert report.agreement.value == pytest.approx(1 / 3)
    assert (report.num_items, report.num_votes, report.accuracy) == (10, 3, 0.8)
    assert report.high == pytest.approx(0.5)
    assert measure_ceiling(build_table([item("a", (1, 0), votes=(1, 0))]), np.ones(1)) is None


def test_agreement_of_voters_counts_a_prompt_once() -> None:
    votes = [(3, 0), (2, 1), (1, 2)]
    alone = [item(f"i{n}", (1, 0), prompt=f"p{n}", votes=votes[n % 2]) for n in range(40)]
    copies = [item(f"i{n}", (1, 0), prompt=f"p{n // 4}", votes=votes[n // 4 % 2]) for n in range(40)]
    one, four = (measure_ceiling(build_table(items), np.ones(40)) for items in (alone, copies))
    assert one is not None and four is not None
    assert four.agreement.value == one.agreement.value
    assert four.agreement.high - four.agreement.low > 1.7 * (one.agreement.high - one.agreement.low)


def test_losses_are_compared_on_the_pairs_that_both_scored() -> None:
    items = [item("a", (1, 0), votes=(3, 1)), item("b", (0, 1)), item("c", (1, 0)), item("d", (1, 0))]
    table = build_table(items)
    ours = {"a": (2, 1), "b": (3, 1), "c": None, "d": (1, 0)}
    theirs = {"a": (1, 1), "b": (1, 3), "c": (1, 0), "d": None}
    first, second = (judge(table, MODEL, 0.7, rewards_of(table, scores)) for scores in (ours, theirs))
    found = compare_losses(table, first, second)

    def loss(margin: float, label: float) -> float:
        p = sigmoid(0.7 * margin)
        return -(label * log(p) + (1 - label) * log(1 - p))

    expected = (loss(1, 0.75) - loss(0, 0.75) + loss(-2, 1) - loss(2, 1)) / 2
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_shapes_are_slices_where_there_are_several() -> None:
    items = [item("a", (1, 0)), item("b", (1, 0, 0, 0)), item("c", (1, 1, 0, 0), styles=(0, 1, 0, 1))]
    assert {k.name for k in build_table(items).slices if k.kind == "shape"} == {
        "pair",
        "best of 4",
        "style matrix",
    }
    assert not [k for k in build_table(items[:1]).slices if k.kind == "shape"]


def test_the_comparison_is_paired_and_knows_its_slices() -> None:
    count = 4 * MIN_SLICE_ITEMS
    items = [item(f"i{n}", (1, 0), subset="ab"[n % 2], tags=("few",) if n < 10 else ()) for n in range(count)]
    table = build_table(items)
    scored = np.zeros(2 * count)
    weak = Judged(MODEL, 0.7, scored, np.zeros(count))
    strong = Judged(MODEL, 0.7, scored, np.where(np.arange(count) % 2 == 0, 1.0, 0.0))
    found = compare(table, strong, weak, margin=0.02)
    assert found.verdict == "better"
    assert found.slices.keys() == {"subset a", "subset b"}
    assert found.slices["subset a"].verdict == "better"
    assert found.slices["subset b"].delta.value == 0.0
    assert compare(table, weak, strong, margin=0.02).verdict == "worse"
    assert compare(table, weak, weak, margin=0.0).verdict == "inconclusive"
    assert found.minimum_detectable_effect > 0


@pytest.mark.parametrize("missing", [0, 1])
def test_a_slice_of_few_prompts_has_no_verdict(missing: int) -> None:
    num_prompts = MIN_PROMPTS - missing
    count = 4 * MIN_SLICE_ITEMS
    items = [item(f"a{n}", (1, 0), subset="a", prompt=f"p{n % num_prompts}") for n in range(count)]
    items += [item(f"b{n}", (1, 0), subset="b") for n in range(count)]
    scores = np.zeros(4 * count)
    strong, weak = (Judged(MODEL, 0.7, scores, np.full(2 * count, right)) for right in (1.0, 0.0))
    found = compare(build_table(items), strong, weak, margin=0.02)
    assert found.slices.keys() == ({"subset b"} if missing else {"subset a", "subset b"})


def test_only_what_both_scored_is_compared() -> None:
    """A candidate that fails on half of the items it is wrong on is as bad as on the others."""
    count = 2 * MIN_SLICE_ITEMS
    table = build_table([item(f"i{n}", (1, 0)) for n in range(count)])
    right, wrong = (1.0, 0.0), (0.0, 1.0)
    some = {f"i{n}": None if n % 3 == 0 else wrong if n % 3 == 1 else right for n in range(count)}
    other = {f"i{n}": None if n == 1 else right for n in range(count)}
    ours, theirs = (judge(table, MODEL, 0.7, rewards_of(table, scores)) for scores in (some, other))
    found = compare(table, ours, theirs, margin=0.02)
    assert found.num_items == count * 2 // 3 - 1
    assert found.candidate == pytest.approx((count // 3) / found.num_items)
    assert (found.baseline, found.verdict) == (1.0, "worse")
    nothing = judge(table, MODEL, 0.7, np.full(2 * count, np.nan))
    with pytest.raises(InvalidInput, match="no item was scored by candidate and baseline"):
        compare(table, ours, nothing, margin=0.02)


def test_lengths_are_compared_on_decided_pairs_that_both_scored() -> None:
    """The candidate follows length wholly, the baseline next to not at all; elsewhere both differ."""
    items = [item(f"i{n}", (1, 0), lengths=(5 + n % 7, 5) if n % 2 else (5, 5 + n % 7)) for n in range(80)]
    items += [item("tie", (1, 1), lengths=(50, 1))]
    table = build_table(items)
    longer = {i.id: [float(len(r)) for r in i.responses] for i in items}
    ours = longer | {"i3": None, "tie": (0, 9)}
    theirs = {i.id: (n % 3, 1) for n, i in enumerate(items)} | {"i4": None, "tie": (9, 0)}
    first, second = (judge(table, MODEL, 0.7, rewards_of(table, scores)) for scores in (ours, theirs))
    found = compare_lengths(table, first, second)
    pairs = [n for n in range(80) if n not in (3, 4)]
    lengths = [(n % 7) * (1 if n % 2 else -1) for n in pairs]
    expected = 1.0 - abs(length_correlation([n % 3 - 1 for n in pairs], lengths))
    assert found is not None and found.value == pytest.approx(expected, abs=1e-12)
    assert found.low > 0.5
    nothing = judge(table, MODEL, 0.7, np.full(len(table.grades), np.nan))
    assert compare_lengths(table, first, nothing) is None
