"""What a restored site must not do again: give out an ID, version or serial, or use a secret, a second time.

A backup is older than the home that was lost. What that home gave out since is not known, but other sites may have it.
So every number goes forward by a gap, the custody entries begin a new book, and parcels whose build was not finished
are forgotten: their seeds may have encrypted other content since. What the backup says of media that were received is
no longer so, as the blocks were on the lost disk: these volumes are received anew.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from courier.files import remove_tree
from courier.parcel.states import ReceivedState, SentState
from courier.parcel.transitions import log_entry
from courier.receiving.discard_received import discard_received
from courier.sending.relayout import EDITIONS
from courier.site.catalog import deployments, messages, packages, parcels
from courier.site.catalog.schema import counter, definition, package, point, sent_package
from courier.site.clock import now
from courier.site.home import Site, change_settings
from courier.site.rotation import CARD_SERIALS
from formats.names import MAX_PACKAGES, MAX_PARCELS, MAX_VERSION, is_package
from formats.records import format_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

GAP = 1000
"""Numbers that are passed over without a word from the operator."""
RESTORED = "restored"
"""The word in the log of a site for a restore."""
MAX_DEPLOYMENTS = 99_999
"""The ID of a deployment has five digits."""
_ON_THE_DISK = (ReceivedState.ARRIVING, ReceivedState.HELD, ReceivedState.COMPLETE, ReceivedState.IMPORTING)
"""States of a received parcel of which blocks were on the lost disk."""
_MAY_BE_UNDER_WAY = (SentState.BUILT, SentState.WRITTEN, SentState.SENT, SentState.ARRIVING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A site that was restored to what it was at ``made_ns`` (UTC).

    ``forgotten``: parcels made here whose build was not finished. ``receive_again``: parcels of which volumes are to be
    received anew. ``ship_again``: parcels made here that are, or may be, under way: shipping one again makes its
    receipts come again. ``announced``: parcels that were to arrive, of which the source may have said more since.
    ``versions``: package versions whose content the store does not have.
    """

    site: str
    made_ns: int
    forgotten: tuple[str, ...]
    receive_again: tuple[str, ...]
    ship_again: tuple[str, ...]
    announced: tuple[str, ...]
    versions: int


def set_forward(site: Site, *, made_ns: int, gap: int) -> Restored:
    """Set a site forward that has just been taken out of a backup made at ``made_ns``, and that nobody uses yet.

    ``gap``: more numbers than the site may have given out since, of each kind.
    """
    change_settings(site, books=(*site.settings.books, secrets.token_hex(8)))
    with site.catalogue.reading() as connection:
        sent, received = parcels.all_sent(connection), parcels.all_received(connection)
        versions = len(packages.versions(connection))
    again = tuple(sorted({one.parcel for one in received if one.state in _ON_THE_DISK}))
    for parcel in again:
        discard_received(site, parcel)
    forgotten = tuple(one.parcel for one in sent if one.state == SentState.PLANNED)
    with site.catalogue.writing() as connection:
        for parcel in forgotten:
            parcels.forget_sent(connection, parcel)
        _pass_over(connection, site, gap, editions=max((one.edition for one in sent), default=0))
        messages.send_again(connection, now())
        text = f"from the backup of {format_time(made_ns)[:19]}Z; {gap:,} numbers of each kind passed over"
        parcels.write_log(connection, log_entry(site, "", RESTORED, text))
    _forget_folders(site, {one.parcel for one in sent} - set(forgotten))
    return Restored(
        site=site.code,
        made_ns=made_ns,
        forgotten=forgotten,
        receive_again=again,
        ship_again=tuple(one.parcel for one in sent if one.state in _MAY_BE_UNDER_WAY),
        announced=tuple(sorted({one.parcel for one in received if one.state == ReceivedState.ANNOUNCED})),
        versions=versions,
    )


def _pass_over(connection: Connection, site: Site, gap: int, *, editions: int) -> None:
    def forward(name: str, last: int, most: int) -> None:
        packages.raise_counter(connection, name, min(last + gap, most))

    forward("parcel", packages.read_counter(connection, "parcel"), MAX_PARCELS)
    forward("package", packages.read_counter(connection, "package"), MAX_PACKAGES)
    forward(deployments.COUNTER, packages.read_counter(connection, deployments.COUNTER), MAX_DEPLOYMENTS)
    for name in _own_packages(connection, site.code):
        forward(name, packages.next_version(connection, name) - 1, MAX_VERSION)
    packages.raise_counter(connection, EDITIONS, editions + gap)
    packages.raise_counter(connection, CARD_SERIALS, site.card.serial + gap)
    # Clients refuse a statement of a point that is older than one they have seen.
    connection.execute(update(point).values(serial=point.c.serial + gap))


def _own_packages(connection: Connection, code: str) -> set[str]:
    """The packages of a site that its catalogue knows of, in whatever way."""
    columns = (counter.c.name, package.c.package, definition.c.package, sent_package.c.package)
    names = {name for column in columns for (name,) in connection.execute(select(column).distinct())}
    return {name for name in names if name.startswith(code) and is_package(name)}


def _forget_folders(site: Site, known: set[str]) -> None:
    """Delete the folders of parcels that the catalogue does not know: with seeds that must not be used again."""
    for folder in (site.home / "parcels" / "out").iterdir():
        if folder.is_dir() and folder.name not in known:
            remove_tree(folder)
