"""Which scripts the prompts are in, and whether they fit the language that is claimed."""

from collections import Counter

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import MAX_PLACES
from guerdon_training.audit.script import LANGUAGE_SCRIPTS, script_of

NAME, TITLE = "languages", "Language of the prompts"

WARN_ABOVE, FAIL_ABOVE = 0.01, 0.10
"""Share of prompts, among those with a known language, in another script than the language's."""


def check_languages(records: Records) -> Check:
    """A guess by script: it cannot tell Portuguese from English, but finds Chinese filed as English."""
    if not records.prompts:
        return not_applicable(NAME, TITLE, "no prompts in these files")
    scripts = [script_of("".join(m.content for m in p.turns if m.role == "user")) for p in records.prompts]
    findings = [Finding("prompts", n, "rows", f"script={s}") for s, n in Counter(scripts).most_common()]
    claimed = [
        (p, s)
        for p, s in zip(records.prompts, scripts, strict=True)
        if p.language and p.language[:2].lower() in LANGUAGE_SCRIPTS and s != "none"
    ]
    wrong = [p for p, s in claimed if s not in LANGUAGE_SCRIPTS[str(p.language)[:2].lower()]]
    findings.append(Finding("prompts not in their language's script", len(wrong), "rows", num=len(claimed)))
    verdict = Verdict.PASS
    if len(wrong) > WARN_ABOVE * len(claimed):
        verdict = Verdict.FAIL if len(wrong) > FAIL_ABOVE * len(claimed) else Verdict.WARN
    reason = f"{len(wrong)} of {len(claimed)} prompts with a language are in another script"
    if not claimed:
        reason = f"no prompt names its language; most are in {Counter(scripts).most_common(1)[0][0]} script"
    return Check(
        NAME, TITLE, verdict, reason, tuple(findings), tuple(str(p.place) for p in wrong[:MAX_PLACES])
    )
