"""Looking after a site's home: everything that is looked at, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from courier.care.ailment import Ailment
from courier.care.doctor_channel import look_at_channel, look_at_clock, look_at_keys
from courier.care.doctor_home import look_at_locks, look_at_rights, look_at_space, look_for_leftovers
from courier.care.doctor_store import look_at_catalogue, look_at_store
from courier.care.doctor_tools import look_at_tools
from courier.care.doctor_watch import look_at_config, look_at_watch
from courier.site.home import Site


def examine(site: Site, *, mend: bool) -> Iterator[Ailment]:
    """What is wrong with a home. ``mend``: what can be put right without any loss is put right.

    Raises `CourierError` where the catalogue cannot be read at all.
    """
    yield from look_at_rights(site.home, mend=mend)
    yield from look_at_keys(site)
    yield from look_at_locks(site.home)
    yield from look_at_space(site.home)
    yield from look_at_clock(site)
    yield from look_at_catalogue(site)
    yield from look_for_leftovers(site, mend=mend)
    yield from look_at_store(site, mend=mend)
    yield from look_at_tools()
    yield from look_at_channel(site)
    yield from look_at_config(site.home)
    yield from look_at_watch(site)
