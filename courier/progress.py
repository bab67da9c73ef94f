"""How far long work is, as whoever does it tells whoever shows it: phase by phase, with what each has to do in all."""

from __future__ import annotations


class Progress:
    """Is told the phases of work and the bytes done in each; this one shows nothing. May be told from any thread."""

    def begin(self, phase: str, total: int) -> None:
        """A phase begins: its name for people, and all the bytes that it will tell."""

    def __call__(self, count: int) -> None:
        """Another ``count`` bytes of the phase are done."""


SILENT = Progress()
"""Shows nothing."""
