"""Statements about other sites: their pinned cards and the addresses that reach them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from courier.site.catalog.schema import address, site, values_of
from courier.site.log import note


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedSite:
    """A site whose card is pinned; ``revoked`` says why it is not trusted any more, and is empty while it is."""

    code: str
    name: str
    card: bytes
    serial: int
    revoked: str
    pinned_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """How a site is reached over the network; the address with priority 1 is tried first.

    ``limits``: as `courier.channel.schedule.Limits.to_text` writes them. ``ca``: file of the certificate authority that
    is trusted for it; empty: those of the system. ``failures``: how often it failed in a row, the last time at
    ``tried_ns``. ``measured``: what the last test measured, as JSON; empty: it was not tested.
    """

    site: str
    priority: int
    address: str
    limits: str = ""
    ca: str = ""
    failures: int = 0
    tried_ns: int | None = None
    measured: str = ""


# Put together once: a server runs them for each message and request.
_FIND = select(site).where(site.c.code == bindparam("one_code"))
_EVERYONE = select(site).order_by(site.c.code)
_FIND_ADDRESS = select(address).where(
    address.c.site == bindparam("one_site"), address.c.address == bindparam("one_address")
)
_ADDRESSES = select(address).order_by(address.c.site, address.c.priority)
_ADDRESSES_OF = _ADDRESSES.where(address.c.site == bindparam("one_site"))


def _pinned(row: Row[tuple[object, ...]]) -> PinnedSite:
    return PinnedSite(**row._mapping)


def pin(connection: Connection, pinned: PinnedSite) -> None:
    """Keep the card of a site, in place of an older one."""
    connection.execute(delete(site).where(site.c.code == pinned.code))
    connection.execute(insert(site).values(values_of(pinned)))
    note(connection, f"card {pinned.serial} of {pinned.code} pinned")


def revoke(connection: Connection, code: str, reason: str) -> bool:
    """Record that a site is not trusted any more; False when no card of it is pinned."""
    revoked = connection.execute(update(site).where(site.c.code == code).values(revoked=reason)).rowcount > 0
    if revoked:
        note(connection, f"site {code} revoked: {reason}")
    return revoked


def find(connection: Connection, code: str) -> PinnedSite | None:
    """The site of that code, if a card of it is pinned."""
    row = connection.execute(_FIND, {"one_code": code}).first()
    return _pinned(row) if row else None


def everyone(connection: Connection) -> list[PinnedSite]:
    """All pinned sites, by code."""
    return [_pinned(row) for row in connection.execute(_EVERYONE)]


def add_address(connection: Connection, new: Address) -> None:
    """Add an address; the priority must be free (see `addresses`)."""
    connection.execute(insert(address).values(values_of(new)))


def change_address(connection: Connection, code: str, text: str, **values: object) -> bool:
    """Change fields of an address; False when there is no such address."""
    statement = update(address).where(address.c.site == code, address.c.address == text)
    return connection.execute(statement.values(**values)).rowcount > 0


def find_address(connection: Connection, code: str, text: str) -> Address | None:
    """An address as it is now, if it is still there."""
    row = connection.execute(_FIND_ADDRESS, {"one_site": code, "one_address": text}).first()
    return Address(**row._mapping) if row else None


def addresses(connection: Connection, code: str | None = None) -> list[Address]:
    """Addresses, of one site or of all, in the order they are tried."""
    found = connection.execute(_ADDRESSES if code is None else _ADDRESSES_OF, {"one_site": code})
    return [Address(**row._mapping) for row in found]


def remove_address(connection: Connection, code: str, text: str) -> bool:
    """Remove an address; False when there is none such."""
    statement = delete(address).where(address.c.site == code, address.c.address == text)
    return connection.execute(statement).rowcount > 0
