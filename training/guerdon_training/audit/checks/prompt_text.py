"""Prompts that are empty, too short to answer, too long, or damaged."""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Prompt, Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "prompt_text", "Prompt quality"

FAIL_ABOVE = 0.01
"""Share of prompts without text."""

WARN_ABOVE = 0.02
"""Share of prompts with a lesser defect."""

MIN_CHARS = 3

_DAMAGED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd\ud800-\udfff]")
"""Control characters other than tab and line ends, the replacement character, lone surrogates."""


def _user_text(prompt: Prompt) -> str:
    return "".join(m.content for m in prompt.turns if m.role == "user").strip()


def _is_damaged(prompt: Prompt) -> bool:
    return any(_DAMAGED.search(m.content) for m in prompt.turns)


def _roles_repeat(prompt: Prompt) -> bool:
    roles = [m.role for m in prompt.turns if m.role in ("user", "assistant")]
    return any(a == b for a, b in pairwise(roles))


DEFECTS: Mapping[str, Callable[[Prompt], bool]] = MappingProxyType(
    {
        "empty": lambda p: not _user_text(p),
        f"shorter than {MIN_CHARS} characters": lambda p: 0 < len(_user_text(p)) < MIN_CHARS,
        "damaged characters": _is_damaged,
        "last turn is not the user's": lambda p: bool(p.turns) and p.turns[-1].role not in ("user", "tool"),
        "two turns of one role in a row": _roles_repeat,
    }
)


def check_prompt_text(records: Records) -> Check:
    """Counts of each defect over the rows, and the share of prompts over the budget."""
    if not records.prompts:
        return not_applicable(NAME, TITLE, "no prompts in these files")
    num = len(records.prompts)
    found = {name: [p for p in records.prompts if is_bad(p)] for name, is_bad in DEFECTS.items()}
    findings = [Finding(name, len(bad), "rows", num=num) for name, bad in found.items()]
    lengths = sorted(sum(len(m.content) for m in p.turns) for p in records.prompts)
    findings += [
        Finding("median length", lengths[num // 2], "characters", num=num),
        Finding("99th percentile of length", lengths[num * 99 // 100], "characters", num=num),
    ]
    num_empty, num_bad = len(found["empty"]), sum(map(len, found.values()))
    verdict = Verdict.PASS
    if num_empty or num_bad > WARN_ABOVE * num:
        verdict = Verdict.FAIL if num_empty > FAIL_ABOVE * num else Verdict.WARN
    commonest = max(found, key=lambda name: len(found[name]))
    defect = f"the commonest defect is '{commonest}' ({len(found[commonest])})" if num_bad else "no defect"
    reason = f"{num_empty} of {num} prompts are empty; {defect}"
    places = tuple(f"{p.place} ({name})" for name, bad in found.items() for p in bad)
    return Check(NAME, TITLE, verdict, reason, tuple(findings), places[:MAX_PLACES])
