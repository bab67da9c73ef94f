"""Fetching messages: from our own server's inbox, from every folder, and from the servers of other sites."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from courier.channel.connections import POLL, Connections, Run, is_server
from courier.channel.handlers import Handlers
from courier.channel.inbox import Inbox
from courier.channel.incoming import IncomingMessage, Intake, take_all
from courier.channel.transport import EnoughError, PausedError, RejectedError
from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UnreachableError, UsageError
from courier.site.catalog import sites
from courier.site.catalog.sites import Address
from courier.site.home import Site

TOGETHER = 64
"""Messages of our own inbox that one transaction takes in, at most: a commit takes longer than to act on one."""


def open_inbox(site: Site) -> Inbox:
    """Where our server keeps what peers bring."""
    return Inbox(site.home / "channel", room=site.room_for)


def take_from_inbox(site: Site, intake: Intake, handlers: Handlers) -> None:
    """Take in what peers brought to our server."""
    take_all(site, _from_inbox(open_inbox(site)), intake, handlers, together=TOGETHER)


def fetch_messages(site: Site, run: Run, intake: Intake, handlers: Handlers) -> None:
    """Take in what waits anywhere: of each site's servers the first that answers is asked, and every folder is.

    A site is not reached where none of its addresses works. Raises `StoppedError`.
    """
    take_from_inbox(site, intake, handlers)
    with site.catalogue.reading() as connection:
        addresses = [address for address in sites.addresses(connection) if address.address != POLL]
    reached: set[str] = set()
    answered: set[str] = set()
    failed: dict[str, str] = {}
    connections = Connections(site, run)
    try:
        for address in addresses:
            place = f"server of {address.site}" if is_server(address) else address.address
            if place in reached:
                answered.add(address.site)
                continue
            if run.why_not(address):
                continue
            try:
                try:
                    take_all(site, _from_address(site, connections, address), intake, handlers)
                except RefusedError as error:
                    if error.code != Code.PERMISSION:
                        raise
                    run.refused.append(error)  # of a message, which is no concern of the others
            except PausedError as error:
                if isinstance(error, EnoughError):
                    answered.add(address.site)
                run.held.setdefault(address.site, f"{address.address}: {error.message}")
            except (UnreachableError, RejectedError, NotFoundError, UsageError) as error:
                failed.setdefault(address.site, error.message)
                run.broke(site, address, error.message)
            else:
                reached.add(place)
                answered.add(address.site)
                run.worked(site, address)
    finally:
        connections.close()
    for code, reason in failed.items():
        if code not in answered:  # else it is named among the addresses that failed
            run.failed.setdefault(code, reason)


def _from_inbox(inbox: Inbox) -> Iterator[IncomingMessage]:
    for peer, sha256, body in inbox.fetch():
        yield IncomingMessage(peer=peer, sha256=sha256, body=body, done=partial(inbox.done, peer, sha256))


def _from_address(site: Site, connections: Connections, address: Address) -> Iterator[IncomingMessage]:
    transport = connections.to(address, "high")
    peer = address.site if is_server(address) else ""
    for sha256, body in transport.fetch(site.code):
        yield IncomingMessage(peer=peer, sha256=sha256, body=body, done=partial(transport.done, site.code, sha256))
