"""What a score certificate says: the checks that a model passed before it became ready."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `detail` says what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The checks of one model, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when the model may become ready."""
        return all(check.passed for check in self.checks)

    @property
    def failure(self) -> str:
        """First failed check with what was found; empty when all passed."""
        return next((f"{c.name}: {c.detail}" for c in self.checks if not c.passed), "")


UNCHECKED = Certificate(())
"""Of a model that was not certified: the fakes of tests."""
