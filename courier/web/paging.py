"""Pages of long lists: which part of a list is shown, and the addresses of the parts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

MOST = 1_000_000
"""The highest page that is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paging:
    """Part ``page`` (from 1) of a list of ``count`` things, ``size`` to a page.

    ``path`` and ``query`` are the address of the list, ``key`` the name of the page number in it.
    """

    path: str
    query: Mapping[str, str]
    page: int
    size: int
    count: int
    key: str = "page"

    @property
    def pages(self) -> int:
        """How many pages there are; one at least."""
        return max(1, -(-self.count // self.size))

    @property
    def first(self) -> int:
        """The number of the first thing on the page, from 1; 0 where there is none."""
        return min(self.count, (self.page - 1) * self.size + 1)

    @property
    def last(self) -> int:
        """The number of the last thing on the page."""
        return min(self.count, self.page * self.size)

    def address(self, page: int) -> str:
        """The address of a page of the list."""
        values = (
            {**self.query, self.key: str(page)} if page > 1 else {k: v for k, v in self.query.items() if k != self.key}
        )
        return f"{self.path}?{urlencode(values)}" if values else self.path


def page_of(text: str) -> int:
    """The page that a query asks for: 1 for whatever is no number of a page."""
    # Of a number without end Python makes none: nine digits tell whether it is one, and whether it is beyond `MOST`.
    return max(1, min(MOST, int(text[:9]))) if text.isascii() and text.isdecimal() else 1
