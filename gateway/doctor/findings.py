"""One finding, and how findings are told. How they are found is in the modules beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

NAMED_MOST = 5


class Severity(StrEnum):
    """A problem keeps the pool from working as configured; a hint is worth knowing."""

    PROBLEM = "problem"
    HINT = "hint"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, on which runner (None: on the gateway's own machine, or in the pool as a whole), why it matters
    and what to do."""

    severity: Severity
    what: str
    why: str
    advice: str
    runner: str | None = None


def problem(what: str, why: str, advice: str, runner: str | None = None) -> Finding:
    """A finding that keeps the pool from working as configured."""
    return Finding(Severity.PROBLEM, what, why, advice, runner)


def hint(what: str, why: str, advice: str, runner: str | None = None) -> Finding:
    """A finding that is worth knowing."""
    return Finding(Severity.HINT, what, why, advice, runner)


def report(findings: Sequence[Finding], runners: int) -> str:
    """The findings as text, problems first."""
    found = sorted(findings, key=lambda each: each.severity is Severity.HINT)
    parts = [
        f"{each.severity.value}: {f'{each.runner}: ' if each.runner else ''}{each.what}\n"
        f"  why it matters: {each.why}\n"
        f"  what to do: {each.advice}"
        for each in found
    ]
    problems = sum(each.severity is Severity.PROBLEM for each in found)
    parts.append(f"{runners} runners asked: {problems} problems, {len(found) - problems} hints.")
    return "\n\n".join(parts)


def named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:NAMED_MOST])
    return shown if len(names) <= NAMED_MOST else f"{shown} and {len(names) - NAMED_MOST} more"
