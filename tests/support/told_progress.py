"""Progress that is kept, so that a test can say whether it told the truth."""

from __future__ import annotations

from courier.progress import Progress


class Told(Progress):
    """Keeps what it is told: (phase, total, bytes told)."""

    def __init__(self) -> None:
        self.phases: list[list[object]] = []

    def begin(self, phase: str, total: int) -> None:
        """Keep the phase."""
        self.phases.append([phase, total, 0])

    def __call__(self, count: int) -> None:
        """Count the bytes of the phase."""
        self.phases[-1][2] += count  # type: ignore[operator]

    def all_true(self) -> list[object]:
        """The names of the phases, each of which told as much as it said."""
        for phase, total, told in self.phases:
            assert total == told, phase
        return [phase for phase, *_ in self.phases]
