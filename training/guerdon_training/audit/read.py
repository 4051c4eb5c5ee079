"""Files to `Records`: pairs in any format that `convert` knows, rankings, judgements, prompts."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.fold import fold, fold_prompt
from guerdon_training.audit.records import DEFAULT_BUDGET, Budget, Judgement, Pair, Prompt, Records
from guerdon_training.convert.preference_record import is_absent, number_of, object_of
from guerdon_training.convert.row_format import parse_row
from guerdon_training.convert.source_row import SourceRow, read_rows
from guerdon_training.convert.trl import parse_prompt

SLICES = ("subset", "language", "label_source", "chosen_model")
_FIRST: Mapping[str, bool] = MappingProxyType(
    {
        "first": True,
        "a": True,
        "left": True,
        "0": True,
        "second": False,
        "b": False,
        "right": False,
        "1": False,
    }
)


@dataclass(slots=True)
class _Found:
    pairs: list[Pair] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    items: set[str] = field(default_factory=set)


def read_records(
    paths: Sequence[Path], against: Sequence[Path] = (), budget: Budget = DEFAULT_BUDGET
) -> Records:
    """Read all files; a file without a `split` column is a split of its own, named after the file.

    Defects that a check reports (an empty or equal response, differing prompts) are let through.

    Args:
        against: evaluation files, of which only the prompts are read.

    Raises:
        InvalidInput: a file is unreadable, or a row is malformed or of another kind than the file's first;
            the message names file, line and remedy.
    """
    found, evaluation = _Found(), _Found()
    for target, files in ((found, paths), (evaluation, against)):
        for path in files:
            _read_file(path, target)
    return Records(
        tuple(found.pairs), tuple(found.judgements), tuple(found.prompts), tuple(evaluation.prompts), budget
    )


def _read_file(path: Path, found: _Found) -> None:
    first = ""
    for row in read_rows(path):
        kind = _kind(row)
        first = first or kind
        if kind != first:
            raise InvalidInput(
                f"{row.place} is a {kind} row, but the file began with {first} rows; give one file per kind",
                param="data",
            )
        _READERS[kind](row, found)


def _kind(row: SourceRow) -> str:
    keys = row.values.keys()
    if keys & {"chosen", "rejected"}:
        return "pair"
    if {"responses", "ranks"} <= keys:
        return "ranking"
    if "item_id" in keys and keys & {"label", "rating"}:
        return "judgement"
    if {"item_id", "votes"} <= keys:
        return "votes"
    if "prompt" in keys:
        return "prompt"
    have = ", ".join(map(str, keys))
    raise InvalidInput(
        f"{row.place} is no known row (it has {have}); give chosen and rejected, or responses and ranks, or "
        "item_id with label, rating or votes, or prompt",
        param="data",
    )


def _text(row: SourceRow, name: str) -> str:
    value = row.values.get(name)
    return "" if value is None else str(value)


def _split(row: SourceRow) -> str:
    return _text(row, "split") or Path(row.place.file).name


def _read_pair(row: SourceRow, found: _Found) -> None:
    sides = parse_row(row)
    pair = Pair(
        place=row.place,
        id=_text(row, "id"),
        prompt=sides.prompt,
        rejected_prompt=sides.rejected_prompt,
        chosen=sides.chosen,
        rejected=sides.rejected,
        split=_split(row),
        source=_text(row, "source"),
        slices=_slices(row),
        annotator=_text(row, "annotator") or None,
        chosen_first=_chosen_first(row),
        is_tie=_is_tie(row),
    )
    found.pairs.append(pair)
    found.prompts.append(_prompt(row, pair.prompt))
    found.judgements += _pair_judgements(row, pair)


def _read_ranking(row: SourceRow, found: _Found) -> None:
    """All pairs of a ranking, better response first, as the recipes read it."""
    responses, ranks = row.values["responses"], row.values["ranks"]
    is_ranked = isinstance(responses, list) and isinstance(ranks, list) and len(responses) == len(ranks)
    if not (is_ranked and {type(r) for r in responses} <= {str} and {type(r) for r in ranks} <= {int}):
        raise InvalidInput(
            f"{row.place}: responses must be texts and ranks whole numbers, one for each; fix the line",
            param="ranks",
        )
    prompt, name = parse_prompt(row.values.get("prompt"), row.place), _text(row, "id")
    found.prompts.append(_prompt(row, prompt))
    for better, worse in combinations(sorted(range(len(ranks)), key=ranks.__getitem__), 2):
        pair = Pair(
            place=row.place,
            id=name and f"{name}#{better}-{worse}",
            prompt=prompt,
            rejected_prompt=prompt,
            chosen=responses[better],
            rejected=responses[worse],
            split=_split(row),
            source=_text(row, "source"),
            slices=_slices(row),
            is_tie=ranks[better] == ranks[worse],
        )
        found.pairs.append(pair)


def _slices(row: SourceRow) -> Mapping[str, str]:
    return {name: _text(row, name) for name in SLICES if _text(row, name)}


def _is_tie(row: SourceRow) -> bool:
    """As `data.PreferencePair.is_tie`, of votes that are there."""
    if is_absent(row.values.get("votes")):
        return False
    votes = Counter(_votes(row))
    return votes["tie"] > votes["chosen"] or votes["chosen"] == votes["rejected"]


def _chosen_first(row: SourceRow) -> bool | None:
    value = _text(row, "chosen_position").lower()
    if value and value not in _FIRST:
        raise InvalidInput(
            f"{row.place}: chosen_position is {value!r}; use first or second", param="chosen_position"
        )
    return _FIRST.get(value)


def _pair_judgements(row: SourceRow, pair: Pair) -> Iterator[Judgement]:
    """Votes, or one named annotator, on an item that does not depend on who won."""
    has_votes = not is_absent(row.values.get("votes"))
    if not has_votes and pair.annotator is None:
        return
    chosen_is_x = pair.chosen <= pair.rejected
    names = {"chosen": "xy"[not chosen_is_x], "rejected": "xy"[chosen_is_x], "tie": "tie"}
    item = "\0".join((fold_prompt(pair.prompt), *sorted((fold(pair.chosen), fold(pair.rejected)))))
    source = pair.source or Path(row.place.file).name
    if not has_votes:
        demographics = _demographics(row)
        yield Judgement(row.place, item, pair.annotator, names["chosen"], f"{source} (pairs)", demographics)
        return
    for name, num in _votes(row).items():
        if name not in names:
            raise InvalidInput(
                f"{row.place}: votes.{name} is unknown; use chosen, rejected and tie", param="votes"
            )
        for _ in range(num):
            yield Judgement(row.place, item, None, names[name], f"{source} (pair votes)")


def _votes(row: SourceRow) -> Mapping[str, int]:
    votes = object_of(row, "votes")
    if not all(isinstance(n, int) and n >= 0 for n in votes.values()):
        raise InvalidInput(f"{row.place}: votes must map labels to counts; fix the line", param="votes")
    return votes


def _demographics(row: SourceRow) -> Mapping[str, str]:
    if is_absent(row.values.get("demographics")):
        return {}
    return {str(k): str(v) for k, v in object_of(row, "demographics").items()}


def _read_judgement(row: SourceRow, found: _Found) -> None:
    label = row.values.get("label")
    if not is_absent(row.values.get("rating")):
        value: str | float = float(number_of(row, "rating"))
    elif isinstance(label, str) and label:
        value = label
    else:
        raise InvalidInput(f"{row.place} has neither a label nor a rating; add one", param="label")
    item, annotator = _text(row, "item_id"), _text(row, "annotator") or None
    found.judgements.append(Judgement(row.place, item, annotator, value, _group(row), _demographics(row)))
    _read_item_prompt(row, found)


def _read_votes(row: SourceRow, found: _Found) -> None:
    for label, num in _votes(row).items():
        found.judgements += [Judgement(row.place, _text(row, "item_id"), None, label, _group(row))] * num
    _read_item_prompt(row, found)


def _group(row: SourceRow) -> str:
    return _text(row, "source") or Path(row.place.file).name


def _read_item_prompt(row: SourceRow, found: _Found) -> None:
    """An item's prompt once, not once per annotator."""
    key = f"{row.place.file}\0{_text(row, 'item_id')}"
    if row.values.get("prompt") is not None and key not in found.items:
        found.items.add(key)
        found.prompts.append(_prompt(row, parse_prompt(row.values["prompt"], row.place)))


def _read_prompt(row: SourceRow, found: _Found) -> None:
    found.prompts.append(_prompt(row, parse_prompt(row.values["prompt"], row.place)))


def _prompt(row: SourceRow, turns: tuple[Message, ...]) -> Prompt:
    return Prompt(row.place, turns, _split(row), _text(row, "source"), _text(row, "language") or None)


_READERS: Mapping[str, Callable[[SourceRow, _Found], None]] = MappingProxyType(
    {
        "pair": _read_pair,
        "ranking": _read_ranking,
        "judgement": _read_judgement,
        "votes": _read_votes,
        "prompt": _read_prompt,
    }
)
