"""Gathering findings: one for all computers that it concerns, and each once. Pure."""

from __future__ import annotations

from courier.deployment.findings import Finding
from courier.deployment.sequence import Step

_NAMED = 5
"""Computers that a finding names; of more it tells the number."""


class FindingList:
    """Findings as they are found; the same fault of several computers becomes one that names them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int | None, str], tuple[Finding, list[str]]] = {}

    def put(self, finding: Finding) -> None:
        """Take a finding as it is."""
        self._found.setdefault((finding.code, finding.step, finding.message), (finding, []))

    def add(
        self,
        code: str,
        message: str,
        remedy: str,
        *,
        step: Step | None = None,
        computer: str = "",
        about: str = "",
        refuses: bool = True,
    ) -> None:
        """Add a finding; where it was found of another computer, ``computer`` is named in that one.

        ``about``: tells it from findings with the same words.
        """
        number = step.number if step else None
        text = f"step {step.number} ({step.name}): {message}" if step else message
        finding = Finding(code=code, step=number, message=text, remedy=remedy, refuses=refuses)
        _, computers = self._found.setdefault((code, number, text + about), (finding, []))
        if computer and computer not in computers:
            computers.append(computer)

    def all(self) -> list[Finding]:
        """What was found: what refuses first, then by step."""
        done = [_named(finding, computers) for finding, computers in self._found.values()]
        return sorted(done, key=lambda one: (not one.refuses, one.step or 0))


def _named(finding: Finding, computers: list[str]) -> Finding:
    if not computers:
        return finding
    names = ", ".join(computers[:_NAMED])
    if len(computers) > _NAMED:
        names += f" and {len(computers) - _NAMED:,} more"
    return Finding(
        code=finding.code,
        step=finding.step,
        message=f"{names}: {finding.message}",
        remedy=finding.remedy,
        refuses=finding.refuses,
    )
