"""Whatever the network does and whenever a site is restarted: in the end all sites agree.

Five sites on a network in memory (the real client and server of the channel, and shared folders) that loses, doubles,
reorders, delays and cuts 30% of what passes; at any turn of the catalogue a site may end and start anew.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")

from channel_network import HOUR_NS, Clock, Faults, MemoryNetwork, Restart, copy_home

from courier.channel.addresses import add_address
from courier.channel.sync import Exchange, synchronise
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import CourierError
from courier.files import make_folder
from courier.packages.add import add_package, plan_addition
from courier.parcel.states import ReceivedState, SentState
from courier.receiving.receive import receive_media
from courier.receiving.repair import queue_request, request_blocks
from courier.sending.build import build_parcel
from courier.sending.outgoing_parcel import open_outgoing
from courier.sending.plan import ParcelRequest, plan_parcel
from courier.sending.ship import ship_parcel
from courier.sending.write import plan_writing, write_volumes
from courier.site.catalog import Catalogue, messages, packages, parcels, sites
from courier.site.home import Site, create_site, open_site
from courier.site.peers import pin_card
from courier.site.rotation import rotate_key
from formats.documents import acknowledgement as acknowledgement_doc

CODES = ("HQ1", "BR1", "BR2", "BR3", "BR4")
RUNS = int(os.environ.get("COURIER_CONVERGENCE_RUNS", "4"))
ROUNDS = 2_000
"""More than any run needs: a message that was lost several times waits up to a day of its clock for the next try."""
PART = 6_000
"""Bytes of a part here, so that an answer with 20,000 bytes of blocks has several, and what is in between is cut."""
DAMAGED = "HQ1-000001"
ASKING = ("BR1", "BR2")
"""Who gets the media of `DAMAGED` with a bad archive: one fetches the answer in parts, one is brought it."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Homes of five sites before anything is shipped, and the volumes of each parcel."""

    homes: Path
    media: dict[str, list[Path]]
    routes: dict[str, tuple[str, ...]]
    damaged: list[Path]


@pytest.fixture
def folder(quick: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir=quick))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def start(quick: Path) -> Start:
    root = make_folder(quick / "sites")
    made = {code: create_site(root / code, code=code, name=code) for code in CODES}
    for site in made.values():
        for other in made.values():
            if other is not site:
                pin_card(site, other.card_envelope, fingerprint=other.card.fingerprint)
                add_address(site, other.code, str(make_folder(root / "unused")))
    media: dict[str, list[Path]] = {}
    routes: dict[str, tuple[str, ...]] = {}
    for code, destinations in (("HQ1", CODES[1:]), ("BR1", ("HQ1", "BR2")), ("HQ1", ("BR4",))):
        site = made[code]
        source = root / f"{code}-{len(media)}.img"
        source.write_bytes(random.Random(len(media)).randbytes(20_000))
        with plan_addition(site, [source], name=source.name) as addition:
            stored = add_package(site, addition)
        request = ParcelRequest(
            packages=(stored.package,),
            destinations=tuple(destinations),
            media="drive",
            capacity=1_000_000,
            compress="none",
        )
        parcel = build_parcel(site, plan_parcel(site, request))
        name = parcel.packing.parcel
        writing = plan_writing(site, parcel, layout="folder", outs=[make_folder(root / "media" / name)])
        media[name] = [one.path for one in write_volumes(site, writing).volumes]
        routes[name] = tuple(destinations)
    for site in made.values():
        with site.catalogue.writing() as connection:
            for code in CODES:
                sites.remove_address(connection, code, str(root / "unused"))
        site.close()
    damaged = [Path(shutil.copytree(volume, root / "damaged" / volume.name)) for volume in media[DAMAGED]]
    for archive in damaged[0].glob("data/archives/*"):
        body = bytearray(archive.read_bytes())
        body[len(body) // 2] ^= 1
        archive.write_bytes(body)
    return Start(homes=root, media=media, routes=routes, damaged=damaged)


class FlakyCatalogue:
    """A catalogue before or after any of whose transactions the process may end."""

    def __init__(self, inner: Catalogue, dice: random.Random, rate: float) -> None:
        self._inner, self._dice, self._rate = inner, dice, rate

    def reading(self) -> contextlib.AbstractContextManager[Any]:
        return self._inner.reading()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        self._end()
        with self._inner.writing() as connection:
            yield connection
        self._end()

    def exclusive(self, name: str) -> contextlib.AbstractContextManager[None]:
        return self._inner.exclusive(name)

    def holder(self, name: str) -> str:
        return self._inner.holder(name)

    def check_held(self) -> None:
        self._inner.check_held()

    def close(self) -> None:
        self._inner.close()

    def _end(self) -> None:
        if self._dice.random() < self._rate:
            raise Restart


class World:
    """Five sites, their network, and what is still to be done by operators."""

    def __init__(self, start: Start, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock, Faults(rate=0.3, dice=self.dice))
        self.homes = {code: copy_home(start.homes / code, folder / code) for code in CODES}
        self.start = start
        self.share = make_folder(folder / "share")
        self.restarts = 0
        self.last: dict[str, Exchange] = {}
        self.sites: dict[str, Site] = {}
        for code in CODES:
            self.begin(code)
        self._connect()

    def _connect(self) -> None:
        # BR1 is fetched from and fetches, BR2 and HQ1 reach one another, BR3 shares a folder, BR4 has two ways.
        ways = {
            ("HQ1", "BR1"): ["poll"],
            ("BR1", "HQ1"): ["https://hq1"],
            ("HQ1", "BR2"): ["https://br2"],
            ("BR2", "HQ1"): ["https://hq1"],
            ("HQ1", "BR3"): [str(self.share)],
            ("BR3", "HQ1"): [str(self.share)],
            ("HQ1", "BR4"): ["https://br4", str(self.share)],
            ("BR4", "HQ1"): ["https://hq1", str(self.share)],
            ("BR1", "BR2"): ["https://br2"],
            ("BR2", "BR1"): [str(self.share)],
        }
        for (own, other), addresses in ways.items():
            for address in addresses:
                add_address(self.plain(own), other, address)
        add_address(self.plain("BR1"), "HQ1", str(self.share))

    def plain(self, code: str) -> Site:
        """A site whose catalogue does not end its process."""
        site = self.sites[code]
        return Site(
            home=site.home,
            settings=site.settings,
            catalogue=site.catalogue._inner,  # type: ignore[attr-defined]
            keyring=site.keyring,
            store=site.store,
        )

    def begin(self, code: str) -> None:
        site = open_site(self.homes[code])
        flaky = FlakyCatalogue(site.catalogue, self.dice, 0.01)
        object.__setattr__(site, "catalogue", flaky)
        self.sites[code] = site
        self.network.serve(self.plain(code))

    def restart(self, code: str) -> None:
        self.restarts += 1
        self.sites[code].close()
        self.begin(code)

    def act(self, code: str, what: Any) -> bool:
        """Do something at a site, whose process may end in it; whether it came to its end."""
        try:
            what(self.sites[code])
        except Restart:
            self.restart(code)
            return False
        return True

    def run(self) -> int:
        """Let all happen in any order until nothing is left to be done; return the rounds it took."""
        todo = [("ship", name, name[:3]) for name in self.start.routes]
        todo += [("receive", name, code) for name, codes in self.start.routes.items() for code in codes]
        todo += [("rotate", "", code) for code in ("HQ1", "BR1")]
        for number in range(ROUNDS):
            self.network.pass_time(2 * HOUR_NS)
            codes = list(CODES)
            self.dice.shuffle(codes)
            for code in codes:
                if self.dice.random() < 0.1:
                    self.restart(code)
                self.act(code, self.synchronise)
            if todo and self.dice.random() < 0.7:
                job = todo.pop(self.dice.randrange(len(todo)))
                done = self.act(job[2], lambda site, job=job: self.do(site, *job))
                if not done and job[0] != "rotate":
                    todo.append(job)
                elif job[0] == "receive" and job[1] == DAMAGED and job[2] in ASKING:
                    todo.append(("ask", *job[1:]))
            if not todo and not self.open_ends():
                return number
        raise AssertionError(f"no agreement after {ROUNDS} rounds: {[*self.open_ends(), *self.failures()]}")

    def synchronise(self, site: Site) -> None:
        self.last[site.code] = synchronise(site, handlers=MESSAGE_HANDLERS, network=self.network, patient=True)

    def do(self, site: Site, what: str, name: str, code: str) -> None:
        if what == "ship":
            parcel = open_outgoing(site, name)
            # A process that ended after its notice went out may have been answered by all before it is tried again.
            if parcel.sent.state != SentState.CONFIRMED:
                ship_parcel(site, parcel)
            return
        if what == "rotate":
            rotate_key(site)
            raise Restart  # the next process has the new card
        if what == "ask":
            request, envelope, _ = request_blocks(site, name)
            queue_request(site, envelope, request)
            return
        damaged = name == DAMAGED and code in ASKING
        media = (self.start.damaged if damaged else self.start.media[name])[:]
        self.dice.shuffle(media)
        try:
            receive_media(site, media)
        except CourierError as error:
            raise AssertionError(f"{site.code} {name}: {error}") from error

    def open_ends(self) -> list[str]:
        """What is not settled yet, in words."""
        found = []
        for code, site in self.sites.items():
            with site.catalogue.reading() as connection:
                for one in messages.due(connection, 1 << 62):
                    if one.type != acknowledgement_doc.TYPE:
                        found.append(f"{code}: message of type {one.type} for {one.site} is {one.state}: {one.reason}")
                sent = [(one.parcel, one.state) for one in parcels.all_sent(connection)]
                received = [(one.parcel, one.state) for one in parcels.all_received(connection)]
            found += [f"{code}: {name} is {state}" for name, state in sent if state != SentState.CONFIRMED]
            found += [f"{code}: {name} is {state}" for name, state in received if state != ReceivedState.IMPORTED]
        return found

    def failures(self) -> list[str]:
        """What was given up, put aside or cannot be done, in words."""
        found = []
        for code, site in self.sites.items():
            with site.catalogue.reading() as connection:
                dead = [*messages.in_state(connection, "out", "dead"), *messages.in_state(connection, "in", "refused")]
            found += [
                f"{code}: {one.type}, {one.direction} of {one.site}, is a dead letter: {one.reason}" for one in dead
            ]
        return found


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.channel.delivery.THREADS", 1)  # so that a seed means the same run again
    for side in ("http_transport", "http_api"):
        monkeypatch.setattr(f"courier.channel.{side}.PART", PART)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("seed", range(RUNS))
def test_all_sites_agree_in_the_end(seed: int, start: Start, folder: Path) -> None:
    world = World(start, folder, seed)
    world.run()
    assert world.restarts > 0
    contents = {}
    for code, site in world.sites.items():
        with site.catalogue.reading() as connection:
            assert not messages.in_state(connection, "out", "dead")
            contents[code] = {(p.package, p.version): p.listing for p in packages.versions(connection)}
            for sent in parcels.all_sent(connection):
                assert sent.state == SentState.CONFIRMED, (code, sent)
                assert all(to.receipt is not None for to in parcels.destinations(connection, sent.parcel))
            received = {row.parcel: row.state for row in parcels.all_received(connection)}
        expected = {name for name, codes in start.routes.items() if code in codes}
        assert received == dict.fromkeys(expected, ReceivedState.IMPORTED)
    for name, codes in start.routes.items():
        with world.sites[name[:3]].catalogue.reading() as connection:
            for package, version, listing, _ in parcels.sent_packages(connection, name):
                for code in codes:
                    assert contents[code][package, version].sha256 == listing
    for site in world.sites.values():
        site.close()


@pytest.mark.usefixtures("parts")
def test_what_was_cut_goes_on_where_it_was(start: Start, folder: Path) -> None:
    spared = 0
    for seed in range(RUNS, RUNS + 8):  # the dice may leave the long answers of one run alone
        world = World(start, make_folder(folder / f"{seed}"), seed)
        world.run()
        for site in world.sites.values():
            site.close()
        assert world.network.faults is not None
        spared += world.network.faults.spared
        if world.network.faults.resumed and spared > PART:
            return
    raise AssertionError(f"only {spared} bytes were not sent again")


def test_a_seed_that_loses_everything_becomes_dead_letters_that_say_why(start: Start, folder: Path) -> None:
    world = World(start, folder, 1)
    world.network.faults = Faults(rate=0.0, dice=world.dice)
    world.network.servers.clear()
    name = next(iter(start.routes))
    site = world.plain("HQ1")
    ship_parcel(site, open_outgoing(site, name))
    for _ in range(4):
        synchronise(site, handlers=MESSAGE_HANDLERS, network=world.network)
        world.clock.sleep(31 * 24 * 3600)
    synchronise(site, handlers=MESSAGE_HANDLERS, network=world.network)
    with site.catalogue.reading() as connection:
        dead = messages.in_state(connection, "out", "dead")
        assert not messages.due(connection, 1 << 62)
    # What tells of custody waits for the notice, so nothing was tried with it.
    reasons = {one.site: one.reason for one in dead if one.kind != "custody-batch"}
    assert reasons["BR2"].startswith("not acknowledged by BR2 within 90 days; last: https://br2: nobody listens")
    assert "not acknowledged by BR3 within 90 days" in reasons["BR3"]
    queued = ship_parcel(site, open_outgoing(site, name)).queued
    assert queued == 2 * len(start.routes[name])  # shipping again brings the dead to life
