"""A parcel goes by network over every kind of address, through a network that loses, doubles, delays and cuts."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest

pytest.importorskip("httpx")

from channel_network import HOUR_NS, Clock, Faults, MemoryNetwork
from journey import Home, Sites, add, create, exported, make_home, noise, write

from courier.channel.addresses import add_address
from courier.channel.sync import synchronise
from courier.cli.messages import MESSAGE_HANDLERS
from courier.files import make_folder
from courier.parcel.states import ReceivedState, SentState
from courier.receiving.receive import receive_media
from courier.sending.network_record import all_sends
from courier.site.catalog import messages, parcels
from courier.site.home import Site, open_site

WAYS = {"folder": ("SHARE", "SHARE"), "push": ("https://br1", "https://hq1"), "poll": ("poll", "https://hq1")}
PIECE = 64 << 10
ROAD = ("--transit", "10min", "--hand-over", "1min")


@pytest.fixture(params=WAYS)
def sites(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """Two sites that trust each other; each message has 64 KiB of blocks, so that small parcels take many."""
    monkeypatch.setattr("courier.sending.network_pieces.PART_BYTES", PIECE)
    monkeypatch.setattr("courier.sending.network_send.LEAST_WINDOW", PIECE)
    monkeypatch.setattr("courier.channel.delivery.THREADS", 1)  # so that a seed means the same run again
    homes = tuple(make_home(tmp_path, code) for code in ("HQ1", "BR1"))
    for home, other, way in zip(homes, reversed(homes), WAYS[request.param], strict=True):
        home("site", "trust", tmp_path / f"{other.code}.card")
        site = open_site(home.path)
        add_address(site, other.code, str(make_folder(tmp_path / "share")) if way == "SHARE" else way)
        site.close()
    return Sites(root=tmp_path, homes=homes)


class Network:
    """The network of two sites whose processes are short: each turn opens the home anew."""

    def __init__(self, sites: Sites, *, rate: float) -> None:
        self.sites = sites
        self.clock = Clock()
        self.memory = MemoryNetwork(self.clock, Faults(rate=rate, dice=random.Random(5)) if rate else None)
        self.open = {home.code: open_site(home.path) for home in sites.homes}
        for site in self.open.values():
            self.memory.serve(site)

    @property
    def hq(self) -> Site:
        return self.open["HQ1"]

    @property
    def br(self) -> Site:
        return self.open["BR1"]

    def turn(self) -> None:
        self.memory.pass_time(2 * HOUR_NS)
        for site in self.open.values():
            done = synchronise(site, handlers=MESSAGE_HANDLERS, network=self.memory)
            assert not done.failures

    def until_confirmed(self, parcel: str, most: int = 400) -> int:
        for count in range(most):
            self.turn()
            with self.hq.catalogue.reading() as connection:
                sent = parcels.find_sent(connection, parcel)
            if sent is not None and sent.state == SentState.CONFIRMED:
                return count
        raise AssertionError(f"not confirmed after {most} turns: {all_sends(self.hq)}")


def parcel_of(sites: Sites, size: int = 12 * PIECE, **options: object) -> tuple[str, str]:
    source = sites.root / "noise.bin"
    source.write_bytes(noise(size))
    package = add(sites.hq, source)
    return package, create(sites.hq, package, capacity="20MB", redundancy="none", **options)  # type: ignore[arg-type]


def same(sites: Sites, package: str) -> None:
    assert exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


def has_parts(site: Site, code: str) -> bool:
    with site.catalogue.reading() as connection:
        return any("repair-part" in one.type or "parcel-table" in one.type for one in messages.live(connection, code))


def test_it_arrives_whatever_the_network_does(sites: Sites) -> None:
    package, parcel = parcel_of(sites)
    sites.hq("parcel", "send", parcel, "--by-network", "--window", str(3 * PIECE))
    network = Network(sites, rate=0.3)
    network.until_confirmed(parcel)
    with network.br.catalogue.reading() as connection:
        (row,) = parcels.find_received(connection, parcel)
    assert row.state == ReceivedState.IMPORTED
    network.turn()
    assert all_sends(network.hq) == []
    assert not has_parts(network.hq, "BR1")
    same(sites, package)


def test_the_van_and_the_line_bring_it_together(sites: Sites) -> None:
    package, parcel = parcel_of(sites, 40 * PIECE)
    volumes = write(sites.hq, parcel, "folder", sites.root / "out")
    sites.hq("parcel", "ship", parcel)
    sites.hq("parcel", "send", parcel, "--by-network", "--window", str(2 * PIECE))
    network = Network(sites, rate=0)
    for _ in range(3):
        network.turn()
    (going,) = all_sends(network.hq)
    assert 0 < going.arrived < going.bytes
    done = receive_media(network.br, volumes)
    assert [one.state for one in done.parcels] == [ReceivedState.IMPORTED]
    network.until_confirmed(parcel)
    network.turn()
    assert all_sends(network.hq) == []
    same(sites, package)


def test_nothing_leaves_while_the_schedule_of_the_address_is_closed(tmp_path: Path) -> None:
    sites = _on_a_share(tmp_path)
    package, parcel = parcel_of(sites)
    place = ("BR1", sites.root / "share")
    sites.hq("channel", "address", "set", *place, "--schedule", "mon-sun 0-24 high")
    sites.hq("parcel", "send", parcel, "--by-network")
    for _ in range(3):
        sites.sync()
    assert sites.hq("parcel", "show", parcel)["to"][0]["by_network"]["arrived_bytes"] == 0
    assert "by network to BR1: 0 bytes of" in sites.hq.says("parcel", "show", parcel)
    sites.hq("channel", "address", "set", *place, "--schedule", "mon-sun 0-24 all")
    for _ in range(4):
        sites.sync()
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    same(sites, package)


@pytest.mark.parametrize(
    ("rate", "way"), [("1KB/s", "both"), ("900MB/s", "network")], ids=["a slow line", "a fast line"]
)
def test_what_plan_send_recommends_is_carried_out_by_the_commands_it_prints(
    tmp_path: Path, rate: str, way: str
) -> None:
    sites = _on_a_share(tmp_path)
    source = tmp_path / "noise.bin"
    source.write_bytes(noise(3 << 20))
    package = add(sites.hq, source)
    question = (package, "--to", "BR1", "--capacity", "1500KB", "--network-rate", rate, *ROAD)
    (plan,) = sites.hq("plan", "send", *question)["destinations"]
    assert plan["recommended"] == way
    assert "To do it:" in sites.hq.says("plan", "send", *question)
    parcel = ""
    for text in plan["commands"]:
        words = shlex.split(text.replace("PARCEL", parcel).replace("DIR", str(tmp_path / "out")))
        done = sites.hq(*words[1:])
        parcel = parcel or done["parcel_id"]
    sites.sync(sites.br)
    if way == "both":
        # The van brings one disc of those that were written; the line has the rest.
        sites.br("parcel", "receive", next(iter((tmp_path / "out").iterdir())))
    for _ in range(5):
        sites.sync()
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    same(sites, package)


def _on_a_share(root: Path) -> Sites:
    homes: tuple[Home, ...] = tuple(make_home(root, code) for code in ("HQ1", "BR1"))
    for home, other in zip(homes, reversed(homes), strict=True):
        home("site", "trust", root / f"{other.code}.card")
        home("channel", "address", "add", other.code, make_folder(root / "share"))
    return Sites(root=root, homes=homes)
