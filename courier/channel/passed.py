"""A message that went from site to site, as a server's log has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """A message of the ``kind`` (such as ``receipt``) that went to (``out``) or came from ``site``.

    ``what`` became of it: ``handed over``, ``fetched``, ``taken in`` or ``refused``. ``at_ns``: nanoseconds since 1970.
    ``site`` and ``kind`` are empty where they are not known.
    """

    at_ns: int
    out: bool
    site: str
    kind: str
    what: str
