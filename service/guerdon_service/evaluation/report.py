"""What an evaluation found: frozen dataclasses, and their plain JSON, which is what is stored and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guerdon_service.core.result import Provenance
from guerdon_service.core.statistics.calibration_error import CalibrationError
from guerdon_service.core.statistics.comparison import PairedComparison
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.evaluation.table import SliceKind


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often a model puts first what people put first, on items where they preferred something.

    accuracy: with an interval that takes prompts as the independent observations.
    wilson: the same figure with items as independent.
    of_prompts: mean over prompts of the accuracy on each, so that a prompt counts once.
    longer, shorter: accuracy of always preferring the longest or the shortest response of these items.
    """

    num_items: int
    num_clusters: int
    accuracy: Interval
    wilson: Interval
    of_prompts: float
    longer: float
    shorter: float


@dataclass(frozen=True, slots=True)
class SliceAccuracy:
    """Accuracy on one slice of the items."""

    kind: SliceKind
    name: str
    found: Accuracy


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Are the served probabilities of preference right? Each pair counts in both orders.

    slope: of the served calibration, P = sigmoid(slope * margin).
    error: expected calibration error, Brier score and negative log-likelihood (0.25 and 0.693 for a coin),
        and the rows of the reliability plot. Labels are shares of votes where people voted.
    """

    num_pairs: int
    slope: float
    error: CalibrationError


@dataclass(frozen=True, slots=True)
class LengthReport:
    """How much of it is length, in characters.

    correlation: Spearman, between reward and length differences of pairs, each in both orders.
    matched: accuracy with chosen responses as often longer as shorter, by equal amounts; None where nothing
        matches.
    over_heuristic: accuracy less that of the better of longer and shorter, paired, prompts as clusters.
    """

    correlation: float
    matched: Interval | None
    over_heuristic: Interval
    heuristic: str


@dataclass(frozen=True, slots=True)
class TieReport:
    """Pairs that people called equal: mean distance of P from 0.5 there, and where they preferred one."""

    num_ties: int
    distance: float
    distance_decided: float


@dataclass(frozen=True, slots=True)
class StyleReport:
    """Substance against style (RM-Bench, arXiv 2410.16184).

    matrix: accuracy by style of the chosen (row) and of the rejected response (column), plain to fancy.
    easy, normal, hard: the chosen one is fancier, of the same style, plainer.
    overall: mean over domains, subdomains such as ``safety-refuse`` averaged first.
    """

    num_items: int
    matrix: tuple[tuple[float, ...], ...]
    easy: float
    normal: float
    hard: float
    overall: float


@dataclass(frozen=True, slots=True)
class RewardBenchReport:
    """RewardBench's own scores: by section (v1) or domain (v2), and their mean, the leaderboard's figure."""

    version: int
    sections: Mapping[str, float]
    score: float


@dataclass(frozen=True, slots=True)
class RobustnessRow:
    """One way to change a response that should not, or should, change its reward.

    shift: reward of the changed response less that of the original, in standard deviations of the rewards.
    flips: share of pairs whose order changes when only the chosen response is changed.
    """

    transform: str
    meaning: str
    num_pairs: int
    shift: Interval
    flips: Interval


@dataclass(frozen=True, slots=True)
class ModelReport:
    """Everything about one model on the data."""

    model: Provenance
    num_refused: int
    overall: Accuracy
    slices: tuple[SliceAccuracy, ...]
    calibration: CalibrationReport | None
    length: LengthReport | None
    ties: TieReport | None
    style: StyleReport | None
    rewardbench: RewardBenchReport | None
    robustness: tuple[RobustnessRow, ...] = ()


@dataclass(frozen=True, slots=True)
class CeilingReport:
    """The best accuracy that noisy labels allow, from pairs with two votes or more, votes for a tie left out.

    agreement: chance that two people who voted on a pair agree.
    num_votes: what labels are taken to be the majority of; the median over pairs, made odd.
    low, high: least and greatest accuracy of a perfect model against such labels; how the noise is spread
        over pairs decides where between them.
    accuracy: the candidate's on these pairs; `share` is that over `high`.
    """

    num_items: int
    agreement: Interval
    num_votes: int
    low: float
    high: float
    accuracy: float
    share: float


@dataclass(frozen=True, slots=True)
class DataReport:
    """What was read."""

    files: tuple[str, ...]
    sha256: str
    num_items: int
    num_responses: int
    num_clusters: int
    num_ties: int
    num_best_of: int
    num_matrices: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item that the candidate got wrong with the largest margin. Texts may be cut."""

    id: str
    subset: str
    prompt: str
    preferred: str
    scored_higher: str
    reward_preferred: float
    reward_scored_higher: float
    probability: float


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation. `accuracy` is the candidate's, `comparison` is there with a baseline.

    nll_difference: negative log-likelihood of candidate less baseline, paired, in nats.
    length_rise: absolute length correlation of candidate less baseline, on the pairs that both scored.
    """

    accuracy: Interval
    comparison: PairedComparison | None
    nll_difference: Interval | None
    length_rise: Interval | None
    data: DataReport
    candidate: ModelReport
    baseline: ModelReport | None
    ceiling: CeilingReport | None
    disagreements: tuple[Disagreement, ...]
    guerdon_version: str


def to_json(report: Report) -> dict[str, Any]:
    """Plain values: dictionaries, lists, strings, numbers, booleans and None."""
    plain: dict[str, Any] = _plain(asdict(report))
    return plain


def _plain(value: Any) -> Any:
    """Tuples become lists, as a round trip through JSON makes them."""
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value
