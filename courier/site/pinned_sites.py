"""The sites whose cards are pinned, each read from the catalogue when it is asked for.

A server judges each message by the card of one site; to read those of all the others too, some hundred, would take
longer than all the rest of its work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from courier.site.card import pinned_card
from courier.site.catalog import sites
from courier.site.trust import KnownSite

if TYPE_CHECKING:
    from courier.site.catalog import Catalogue
    from courier.site.catalog.sites import PinnedSite


class PinnedSites(Mapping[str, KnownSite]):
    """What `courier.site.trust.Trust` knows of other sites. A site that was found, or not, is not asked for again."""

    def __init__(self, catalogue: Catalogue, *, own: str, own_site: KnownSite) -> None:
        """``own``: the code of this site, which is known by its own card, whatever is pinned."""
        self._catalogue = catalogue
        self._found: dict[str, KnownSite | None] = {own: own_site}

    def __getitem__(self, code: str) -> KnownSite:
        """A pinned site, be it revoked or not. Raises `KeyError`."""
        if code not in self._found:
            with self._catalogue.reading() as connection:
                pinned = sites.find(connection, code)
            self._found[code] = _known(pinned) if pinned else None
        found = self._found[code]
        if found is None:
            raise KeyError(code)
        return found

    def __iter__(self) -> Iterator[str]:
        """The codes of all of them, in order."""
        with self._catalogue.reading() as connection:
            pinned = sites.everyone(connection)
        for one in pinned:
            self._found.setdefault(one.code, _known(one))
        return iter(sorted(code for code, found in self._found.items() if found is not None))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _known(pinned: PinnedSite) -> KnownSite:
    return KnownSite(card=pinned_card(pinned.card), revoked=pinned.revoked)
