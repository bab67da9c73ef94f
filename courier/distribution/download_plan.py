"""What a download is of: the point's statement, the version, its definition and its listing, all verified.

The statement comes from the points that the operator named, in their order, never from a peer. Definition and listing
are bound by it, so they may come from any of them, and the listing from a peer too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.distribution.asking import Asking
from courier.distribution.point_reader import (
    Fetch,
    PointPackage,
    check_not_older,
    choose,
    read_definition,
    read_listing_of,
    read_statement,
)
from courier.distribution.seen_statements import Memory
from courier.site.trust import read_card
from formats.documents.card import SiteCard
from formats.documents.fields import PackageRef
from formats.documents.package import PackageDefinition
from formats.documents.point import PointStatement


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A package version at a point: its statement, which version, and the definition."""

    statement: PointStatement
    ref: PackageRef
    package: PointPackage


def read_cards(paths: Sequence[Path]) -> dict[str, SiteCard]:
    """The cards in files, by site; the first is that of the site that runs the points. Raises as `read_card` does."""
    cards: dict[str, SiteCard] = {}
    for path in paths:
        card = read_card(path.read_bytes(), where=str(path))
        cards.setdefault(card.site, card)
    return cards


def find(
    asking: Asking,
    memory: Memory,
    cards: Mapping[str, SiteCard],
    *,
    package: str,
    version: int | None,
    now_ns: int,
    point: str = "",
) -> Found:
    """The version of a package that the client may take, verified. The first card is that of the points' site.

    Raises `RefusedError`, `NotFoundError`, `DamagedError` and `UnreachableError`.
    """
    own = next(iter(cards.values()))

    def statement_and_ref(fetch: Fetch) -> tuple[PointStatement, PackageRef]:
        statement = fetch_statement(fetch, memory, own, now_ns=now_ns, point=point)
        return statement, choose(statement, package, version)

    statement, ref = asking.first(statement_and_ref)
    found = asking.first(lambda fetch: read_definition(fetch, statement, ref, cards=cards, now_ns=now_ns))
    return Found(statement=statement, ref=ref, package=found)


def fetch_statement(fetch: Fetch, memory: Memory, card: SiteCard, *, now_ns: int, point: str = "") -> PointStatement:
    """The statement of a point, verified, not older than one that was seen; its serial is remembered."""
    statement = read_statement(fetch, card=card, now_ns=now_ns, point=point)
    check_not_older(statement, memory.highest(statement.site, statement.point))
    memory.remember(statement.site, statement.point, statement.serial)
    return statement


def put_listing(
    asking: Asking, definition: PackageDefinition, out: BinaryIO, *, wrote: Callable[[int], None] = lambda _: None
) -> None:
    """Fetch the listing of a package into a new file, open for writing and reading; it is verified, and flushed.

    ``wrote`` is told the bytes as they come, and may raise.
    """

    def keep(pieces: Iterable[memoryview]) -> BinaryIO:
        out.seek(0)
        out.truncate()
        for piece in pieces:
            wrote(len(piece))
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
        # Who reads it closes it, and not the file.
        source = os.fdopen(os.dup(out.fileno()), "rb")
        source.seek(0)
        return source

    def read(fetch: Fetch) -> None:
        for _ in read_listing_of(fetch, definition):
            pass

    asking.first(read, peers=True, keep=keep)
