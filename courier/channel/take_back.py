"""Taking back from shared folders what the other site has acknowledged, or nobody waits for any more.

The site that a message is for removes it once it is taken. Where it may not delete on the share, it would lie there for
ever and be read by every exchange; so its writer looks after it, too. Several sites may write into one box: each takes
back only what it knows, by its catalogue, to be its own.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from pathlib import Path

from courier.channel.connections import POLL, Run, is_server
from courier.channel.folder_transport import FolderTransport
from courier.channel.schedule import EXPIRY_NS
from courier.site.catalog import messages, sites
from courier.site.home import Site

_OVER = ("settled", "dead", "dismissed")
"""States of messages that need no delivery any more."""


def take_back(site: Site, run: Run) -> None:
    """Remove what is over from the boxes of other sites in all shared folders that work; it never fails.

    That is what they acknowledged, what became a dead letter, and acknowledgements of ours, which have none themselves,
    that have lain there for longer than any message is sent again.
    """
    with site.catalogue.reading() as connection:
        addresses = sites.addresses(connection)
        handed = messages.in_state(connection, "out", "handed")
    now_ns = run.network.clock()
    # One that is dated in the future was handed over while a clock was wrong: it comes again if it is missed.
    old = {
        (one.site, one.name)
        for one in handed
        if not now_ns - EXPIRY_NS <= (one.settled_ns or 0) <= now_ns + messages.AHEAD_NS
    }
    lying: defaultdict[str, set[str]] = defaultdict(set)
    unseen: set[str] = set()
    for address in addresses:
        if address.address == POLL or is_server(address):
            continue
        if (address.site, address.address) in run.down:
            unseen.add(address.site)
            continue
        with closing(FolderTransport(Path(address.address))) as folder:
            folder.remove_left_overs(address.site)
            names = folder.lying(address.site)
            with site.catalogue.reading() as connection:
                ours = {name: messages.named(connection, "out", name, address.site) for name in names}
            for name, sent in ours.items():
                if sent is not None and (sent.state in _OVER or (address.site, name) in old):
                    folder.done(address.site, name)
        lying[address.site] |= names
    # What was taken, or has just been removed, is no concern any more.
    done = [
        one
        for one in handed
        if one.site not in unseen and (one.name not in lying[one.site] or (one.site, one.name) in old)
    ]
    if done:
        with site.catalogue.writing() as connection:
            for one in done:
                messages.forget(connection, one)
