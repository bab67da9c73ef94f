"""Taking back from shared folders what the other site has acknowledged, or nobody waits for any more.

The site that a message is for removes it once it is taken. Where it may not delete on the share, it would lie there for
ever and be read by every exchange; so its writer looks after it, too.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from courier.channel.connections import POLL, Run, is_server
from courier.channel.folder_transport import FolderTransport
from courier.channel.schedule import EXPIRY_NS
from courier.site.catalog import messages, sites
from courier.site.home import Site

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take_back(site: Site, run: Run) -> None:
    """Remove what is over from the boxes of other sites in all shared folders that work; it never fails.

    That is what they acknowledged, what became a dead letter, and whatever has lain there for longer than any message
    is sent again: an acknowledgement of ours has none itself.
    """
    with site.catalogue.reading() as connection:
        addresses = sites.addresses(connection)
    for address in addresses:
        if address.address == POLL or is_server(address) or (address.site, address.address) in run.down:
            continue
        with closing(FolderTransport(Path(address.address))) as folder:
            folder.remove_left_overs(address.site)
            lying = folder.lying(address.site)
            with site.catalogue.reading() as connection:
                over = [name for name, _ in lying if _is_over(connection, address.site, name)]
            # The share's clock and ours must agree that it is old: by a wrong one everything would be.
            newest_ns = max((written_ns for _, written_ns in lying), default=0)
            before_ns = min(newest_ns, run.network.clock()) - EXPIRY_NS
            over += [name for name, written_ns in lying if written_ns < before_ns]
            for name in over:
                folder.done(address.site, name)


def _is_over(connection: Connection, code: str, name: str) -> bool:
    """Whether a message of ours for another site needs no delivery any more."""
    sent = messages.named(connection, "out", name, code)
    return sent is not None and sent.state in ("settled", "dead")
