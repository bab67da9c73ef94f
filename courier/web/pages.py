"""What every page needs: the site, what is asked for, and what was noticed last; and the record of a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from courier.site.home import Site
from courier.web.paging import Paging, page_of
from courier.web.watch import Seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A page that is asked for: its ``path`` and ``query``, and ``name``, what of it is a part of the path."""

    site: Site
    seen: Seen
    path: str
    query: Mapping[str, str]
    name: str = ""

    def text(self, key: str, most: int = 80) -> str:
        """A text of the query, without what surrounds it and no longer than any name that is looked for."""
        return self.query.get(key, "").strip()[:most]

    def offset(self, size: int, key: str = "page") -> int:
        """How many things of a list come before the page that is asked for."""
        return (page_of(self.query.get(key, "")) - 1) * size

    def paging(self, size: int, count: int, key: str = "page") -> Paging:
        """The page of a list that is asked for, when it has ``count`` things."""
        query = {name: value for name, value in self.query.items() if value}
        return Paging(
            path=self.path, query=query, page=page_of(self.query.get(key, "")), size=size, count=count, key=key
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page: ``part`` names the template of what is renewed, ``values`` are for it."""

    title: str
    tab: str
    part: str
    values: Mapping[str, Any]
