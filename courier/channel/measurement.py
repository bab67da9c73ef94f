"""Measuring an address: round trip and rate of what it carries both ways, within a budget of bytes."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from courier.channel.addresses import find_address
from courier.channel.connections import POLL, Network
from courier.channel.http_transport import HttpTransport
from courier.errors import NotFoundError, UnreachableError, UsageError
from courier.files import explain_os, sync_file
from courier.site.catalog import sites
from courier.site.catalog.sites import Address
from courier.site.home import Site
from courier.site.outbox import PART
from courier.site.peers import find_site

ENOUGH_SECONDS = 2.0
"""A measurement in one direction ends after this time, though its budget is not spent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a test of an address found at ``at_ns`` (UTC): round trip, rates both ways, and the bytes it moved."""

    at_ns: int
    round_trip_ms: float
    up_bytes_per_second: int
    down_bytes_per_second: int
    bytes_moved: int

    def to_text(self) -> str:
        """As it is kept in the catalogue."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Measured | None:
        """From the catalogue; None where the address was never tested."""
        return cls(**json.loads(text)) if text else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """An open address that is to be measured: each function moves so many bytes (`PART` at most) up or down."""

    address: Address
    up: Callable[[int], None]
    down: Callable[[int], None]


def measure_address(
    site: Site, code: str, text: str | None, *, budget: int, network: Network | None = None
) -> Measured:
    """Measure an address (``text``, or the first of the site) with at most ``budget`` bytes, and keep the result.

    Raises `UnreachableError`; `UsageError` for `POLL`, which can only be measured from the other side.
    """
    if budget < 2:
        raise UsageError("a test needs a budget of bytes", hint="--budget 4MB")
    with open_probe(site, code, text, network=network) as probe:
        found = _measure(probe.up, probe.down, budget)
    keep_measured(site, probe.address, found)
    return found


def keep_measured(site: Site, address: Address, found: Measured) -> None:
    """Keep what a test of an address found, for planning; it worked, so that earlier failures are forgotten."""
    with site.catalogue.writing() as connection:
        values = {"measured": found.to_text(), "failures": 0, "tried_ns": None}
        sites.change_address(connection, address.site, address.address, **values)


@contextmanager
def open_probe(site: Site, code: str, text: str | None, *, network: Network | None = None) -> Iterator[Probe]:
    """Open an address (``text``, or the first of the site but for `POLL`) to measure it.

    Raises `NotFoundError`, `UnreachableError`; `UsageError` for `POLL`, which can only be measured from the other side.
    """
    if text is None:
        find_site(site, code)
        with site.catalogue.reading() as connection:
            known = sites.addresses(connection, code)
        if not known:
            raise NotFoundError(f"{code} has no address", hint="courier channel address add CODE ADDRESS")
        address = next((one for one in known if one.address != POLL), known[0])
    else:
        address = find_address(site, code, text)
    if address.address == POLL:
        raise UsageError(f"{code} fetches from our server: only it can test that way", hint="run the test at that site")
    transport = (network or Network()).open(site, address)
    try:
        if isinstance(transport, HttpTransport):
            http = transport
            yield Probe(
                address=address, up=lambda count: http.probe(up=count), down=lambda count: http.probe(down=count)
            )
        else:
            with _folder_probe(address) as probe:
                yield probe
    finally:
        transport.close()


def _measure(up: Callable[[int], None], down: Callable[[int], None], budget: int) -> Measured:
    """Time empty round trips, then growing parts up and down until half the budget or `ENOUGH_SECONDS` is spent."""
    down(0)  # opens the connection, which is not measured
    trips = [seconds_of(down, 0) for _ in range(5)]
    up_rate, up_bytes = _rate(up, budget // 2, min(trips))
    down_rate, down_bytes = _rate(down, budget // 2, min(trips))
    return Measured(
        at_ns=time.time_ns(),
        round_trip_ms=round(sorted(trips)[2] * 1000, 3),
        up_bytes_per_second=up_rate,
        down_bytes_per_second=down_rate,
        bytes_moved=up_bytes + down_bytes,
    )


def seconds_of(act: Callable[[int], None], count: int) -> float:
    """The seconds that ``act`` takes with ``count`` bytes."""
    start = time.perf_counter()
    act(count)
    return time.perf_counter() - start


def _rate(act: Callable[[int], None], budget: int, trip: float) -> tuple[int, int]:
    """(bytes a second, bytes moved); the ``trip`` in seconds that every part takes is not counted."""
    moved, spent, part = 0, 0.0, 16 << 10
    best = 0.0
    while moved < budget and spent < ENOUGH_SECONDS:
        count = min(part, budget - moved, PART)
        seconds = seconds_of(act, count)
        moved, spent, part = moved + count, spent + seconds, min(part * 4, PART)
        best = max(best, count / max(seconds - trip, seconds / 10, 1e-6))
    return int(best), moved


@contextmanager
def _folder_probe(address: Address) -> Iterator[Probe]:
    folder = Path(address.address)
    if not folder.is_dir():
        raise UnreachableError(f"channel folder {folder}: it does not exist", hint="mount the share or make the folder")
    path = folder / f".courier-test-{secrets.token_hex(8)}"
    data = secrets.token_bytes(PART)

    def up(count: int) -> None:
        with path.open("r+b" if path.exists() else "wb") as out:  # never made shorter: `down` reads from it
            out.write(data[:count])
            out.flush()
            sync_file(out.fileno(), path)

    def down(count: int) -> None:
        if not count:
            path.exists()
            return
        with path.open("rb") as source:
            if hasattr(os, "posix_fadvise"):  # else what was written is read from memory, and not from the share
                os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            source.read(count)

    try:
        yield Probe(address=address, up=up, down=down)
    except OSError as error:
        error.filename = str(folder)  # the file's own name says nothing to an operator, or is not told at all
        raise explain_os(error) from None
    finally:
        path.unlink(missing_ok=True)
