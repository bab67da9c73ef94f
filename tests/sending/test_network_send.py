"""A parcel goes by network, in place of its media or beside them: whatever comes first counts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journey import Sites, add, create, exported, make_sites, noise, sent, write

from courier.errors import CourierError, RefusedError
from courier.files import locked
from courier.receiving.network_documents import take_table_part
from courier.sending import network_record
from courier.sending.network_pieces import NetworkPieces
from courier.sending.network_record import NetworkSend
from courier.sending.outgoing_parcel import open_outgoing
from courier.site.catalog import messages
from courier.site.home import Site, open_site
from formats.documents.repair import PART_TYPE
from formats.documents.table import TYPE as TABLE_TYPE
from formats.documents.table import TablePart
from formats.envelope import parse_envelope

MIB = 1 << 20


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """Two sites; a message takes 1 MiB of blocks and not 11, so that small parcels take several windows."""
    monkeypatch.setattr("courier.sending.network_pieces.PART_BYTES", MIB)
    monkeypatch.setattr("courier.sending.network_send.LEAST_WINDOW", 2 * MIB)
    return make_sites(tmp_path)


def package_of(sites: Sites, size: int = 3 * MIB, seed: int = 0) -> str:
    source = sites.root / f"noise{seed}.bin"
    source.write_bytes(noise(size, seed))
    return add(sites.hq, source)


def imported_right(sites: Sites, package: str) -> None:
    assert exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


def exchange(sites: Sites, most: int = 20) -> int:
    """Sync at both sites until the sender has the receipt; return how often."""
    for count in range(1, most + 1):
        sites.sync()
        if sites.hq("parcel", "list")["sent"][0]["state"] == "Confirmed":
            return count
    raise AssertionError("no receipt came")


def progress(sites: Sites, parcel: str) -> dict[str, Any]:
    found: dict[str, Any] = sites.hq("parcel", "show", parcel)["to"][0]["by_network"]
    return found


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_parcel_of_which_no_medium_is_written_arrives_by_network(sites: Sites, encrypt: bool) -> None:
    package = package_of(sites)
    parcel = create(sites.hq, package, capacity="2MB", encrypt=encrypt)
    begun = sites.hq("parcel", "send", parcel, "--by-network")["to"][0]
    assert begun["bytes"] > 3 * MIB
    assert sites.hq("parcel", "show", parcel)["state"] == "Sent"
    exchange(sites)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    imported_right(sites, package)
    sites.sync()
    assert progress(sites, parcel) is None
    log = [one["text"] for one in sites.hq("parcel", "log", parcel)["log"] if one["event"] == "by-network"]
    assert "goes to BR1 by network" in log[0]
    assert "its receipt has come" in log[-1]
    size = log[0].partition("by network: ")[2].partition(" in ")[0]
    assert f"{size} of {size} had arrived" in log[-1]


def test_the_media_and_the_network_complete_a_parcel_together(sites: Sites) -> None:
    """What ``plan send`` calls both: the van brings what it can, the network the rest."""
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="2MB", redundancy="none")
    sites.sync()
    sites.br("parcel", "receive", *volumes[:-1])
    last = str(len(volumes))
    begun = sites.hq("parcel", "send", parcel, "--by-network", "--volume", last)["to"][0]
    assert begun["volumes"] == [len(volumes)]
    assert begun["bytes"] < 3 * MIB
    exchange(sites)
    imported_right(sites, package)


def test_a_medium_that_comes_first_ends_what_goes_by_network(sites: Sites) -> None:
    package = package_of(sites, 6 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="20MB", redundancy="none")
    sites.hq("parcel", "send", parcel, "--by-network", "--window", "2MiB")
    sites.sync()
    sites.sync()
    assert 0 < progress(sites, parcel)["arrived_bytes"] < 6 * MIB
    assert any("came by network" in one["what"] for one in sites.hq("status")["waiting"])
    assert sites.br("parcel", "show", parcel)["missing_blocks"] > 0
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    sites.sync(sites.br, sites.hq, sites.hq)
    assert progress(sites, parcel) is None
    assert not waiting_parts(sites)
    imported_right(sites, package)


def test_while_a_disc_is_read_there_blocks_wait_and_all_else_is_taken_in(sites: Sites) -> None:
    package = package_of(sites)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network")
    sites.hq("channel", "sync")
    with locked(sites.br.path / "parcels" / "in" / "lock"):
        done = sites.br("channel", "sync")
    assert done["taken"] > 0
    assert sites.br("parcel", "list")["received"][0]["state"] == "Announced"
    exchange(sites)
    imported_right(sites, package)


def waiting_parts(sites: Sites) -> list[str]:
    with open_site(sites.hq.path).catalogue.reading() as connection:
        return [one.sha256 for one in messages.live(connection, "BR1") if one.type in (PART_TYPE, TABLE_TYPE)]


def test_no_more_than_the_window_is_on_its_way_and_documents_go_before_blocks(sites: Sites) -> None:
    package = package_of(sites, 7 * MIB)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network", "--window", "2MiB")
    sites.hq("channel", "sync")
    first = progress(sites, parcel)
    assert first["queued_messages"] == 3
    most = 0
    for _ in range(12):
        sites.sync(sites.br, sites.hq)
        if (now := progress(sites, parcel)) is None:
            break
        most = max(most, now["on_the_way_bytes"])
    assert 2 * MIB <= most < 3 * MIB
    sites.sync()
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    sites.hq.fails("parcel", "send", parcel, "--by-network", code=3)


def test_stopped_it_goes_no_further_and_begun_again_it_completes(sites: Sites) -> None:
    package = package_of(sites, 6 * MIB)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network", "--window", "2MiB")
    sites.sync()
    sites.sync(sites.br, sites.hq)
    stopped = sites.hq("parcel", "send", parcel, "--by-network", "--stop")
    assert stopped["stopped"]
    assert stopped["to"][0]["arrived_bytes"] > 0
    assert not waiting_parts(sites)
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Arriving"
    sites.hq.fails("parcel", "send", parcel, "--by-network", "--stop", code=3)
    sites.hq("parcel", "send", parcel, "--by-network")
    exchange(sites)
    imported_right(sites, package)


def test_a_recall_stops_it_and_nothing_more_leaves(sites: Sites) -> None:
    package = package_of(sites, 6 * MIB)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network", "--window", "2MiB")
    sites.sync()
    sites.sync()
    sites.hq("parcel", "recall", parcel)
    sites.sync()
    sites.sync()
    assert progress(sites, parcel) is None
    assert not waiting_parts(sites)
    assert sites.br("parcel", "show", parcel)["state"] == "Refused"
    sites.hq.fails("parcel", "send", parcel, "--by-network", code=3)


def test_killed_after_a_message_was_queued_the_next_exchange_makes_the_same_again(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites, 3 * MIB)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network")
    real = network_record.write_send
    count = 0

    class Killed(BaseException):
        pass

    def killed(site: Site, send: NetworkSend) -> None:
        nonlocal count
        count += 1
        if count % 2:
            raise Killed
        real(site, send)

    with monkeypatch.context() as patch:
        patch.setattr("courier.sending.network_send.write_send", killed)
        for _ in range(14):
            for home in sites.homes:
                with contextlib.suppress(Killed):
                    home("channel", "sync")
    exchange(sites)
    imported_right(sites, package)
    parts = [one for one in sites.br("parcel", "log", parcel)["log"] if one["event"] == "repaired"]
    assert len(parts) == 4


def test_a_refusal_there_is_said_here_and_after_it_is_lifted_the_same_command_goes_on(sites: Sites) -> None:
    package = package_of(sites)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network")
    # The notice is there before the blocks, and the operator refuses.
    sites.hq("channel", "sync")
    sites.br("channel", "sync", code=None)
    (build,) = (one for one in sites.br("parcel", "list")["received"])
    assert build["state"] in ("Announced", "Arriving")
    sites.br("parcel", "refuse", parcel, "--reason", "not now")
    sites.br("parcel", "accept", parcel)
    exchange(sites)
    imported_right(sites, package)


@pytest.mark.parametrize("dismissed", [False, True])
def test_a_site_that_refuses_the_parcel_stops_it_with_its_reason(sites: Sites, dismissed: bool) -> None:
    package = package_of(sites)
    parcel = create(sites.hq, package, capacity="20MB")
    write(sites.hq, parcel, "folder", sites.root / "out")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.br("parcel", "refuse", parcel, "--reason", "not ordered")
    sites.hq("parcel", "send", parcel, "--by-network")
    for _ in range(3):
        sites.sync(sites.hq, sites.br)
    done = sites.hq("channel", "sync", code=None)
    stands = progress(sites, parcel)
    assert f"{parcel} is refused here" in stands["problem"]
    assert "to go on:" in sites.hq.says("parcel", "show", parcel)
    stopped = next(one for one in sites.hq("status")["waiting"] if one["cause"] == "decision")
    assert stopped["next"] == f"courier parcel send {parcel} --by-network --to BR1"
    assert done is not None
    sites.br("parcel", "accept", parcel)
    if dismissed:
        with open_site(sites.hq.path).catalogue.writing() as connection:
            for one in messages.dead_letters(connection):
                assert messages.dismiss(connection, one)
    sites.hq("parcel", "send", parcel, "--by-network")
    exchange(sites)
    imported_right(sites, package)


def test_what_came_by_network_is_discarded_and_sent_again(sites: Sites) -> None:
    package = package_of(sites, 7 * MIB)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network", "--window", "2MiB")
    sites.sync()
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Arriving"
    sites.br("parcel", "discard", parcel)
    sites.sync()
    sites.hq("parcel", "send", parcel, "--by-network", "--stop")
    sites.hq("parcel", "send", parcel, "--by-network")
    exchange(sites)
    imported_right(sites, package)


def test_a_parcel_without_any_bytes_goes_by_network(sites: Sites) -> None:
    (sites.root / "empty").touch()
    package = add(sites.hq, sites.root / "empty")
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq("parcel", "send", parcel, "--by-network")
    exchange(sites)
    imported_right(sites, package)


def test_packages_are_imported_as_they_come_by_network(sites: Sites) -> None:
    small, large = package_of(sites, MIB // 2, 1), package_of(sites, 6 * MIB, 2)
    parcel = create(sites.hq, large, small, capacity="2MB", redundancy="none")
    sites.br("site", "policy", "--progressive")
    sites.hq("parcel", "send", parcel, "--by-network", "--window", "2MiB")
    for _ in range(10):
        sites.sync()
        if sites.br("parcel", "show", parcel)["state"] == "Importing":
            break
    imported_right(sites, small)
    exchange(sites)
    assert exported(sites.br, large, sites.root / "b2") == exported(sites.hq, large, sites.root / "h2")


def test_the_key_of_a_parcel_released_on_arrival_waits_for_the_report(sites: Sites) -> None:
    package = package_of(sites)
    made = sites.hq(
        "parcel",
        "create",
        package,
        "--to",
        "BR1",
        "--capacity",
        "2500KB",
        "--redundancy",
        "none",
        "--key-by-network",
        "--release",
        "on-arrival",
    )
    parcel = str(made["parcel_id"])
    volumes = write(sites.hq, parcel, "folder", sites.root / "out")
    sites.hq("parcel", "ship", parcel, "--seal", "1=A1", "--seal", "2=A2")
    sites.sync()
    sites.br("parcel", "receive", volumes[0])
    sites.hq("parcel", "send", parcel, "--by-network", "--volume", "2")
    for _ in range(4):
        sites.sync()
    shown = sites.br("parcel", "show", parcel)
    assert shown["state"] == "Held"
    sites.br("parcel", "arrived", parcel, "--seal", "1=A1", "--lost", "2")
    sites.sync(sites.br, sites.hq)
    sites.hq("parcel", "release", parcel, "--to", "BR1")
    exchange(sites)
    imported_right(sites, package)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"table": "contents", "data": b"other"}, "damaged"),
        ({"parcel": "HQ1-000077"}, "malformed"),
    ],
)
def test_documents_that_are_not_what_was_signed_begin_nothing(sites: Sites, change: dict[str, Any], code: str) -> None:
    package = package_of(sites, MIB // 2)
    parcel = create(sites.hq, package, capacity="20MB", encrypt=False)
    hq, br = open_site(sites.hq.path), open_site(sites.br.path)
    outgoing = open_outgoing(hq, parcel)
    pieces = NetworkPieces(outgoing, ())
    with pieces.reading(hq) as blocks:
        documents = [
            TablePart.parse(pieces.signed(hq, "BR1", 10**18, number, blocks).payload)
            for number in range(pieces.documents)
        ]
    raised = None
    for one in documents:
        wrong = replace(one, **change) if one.table == change.get("table", one.table) else one
        try:
            take_table_part(br, wrong, parse_envelope(outgoing.envelope))
        except CourierError as error:
            raised = error
    assert raised is not None
    assert raised.code == code
    assert sites.br("parcel", "list")["received"] == []
    assert not list((sites.br.path / "channel" / "documents").glob("*/*/*.*of*"))
    # Sent as they are, in any order and twice, they begin the parcel.
    for one in [*reversed(documents), *documents]:
        take_table_part(br, one, parse_envelope(outgoing.envelope))
    assert sites.br("parcel", "list")["received"][0]["state"] == "Arriving"
    assert not list((sites.br.path / "channel" / "documents").iterdir())


def test_more_documents_than_a_site_may_put_here_are_refused(sites: Sites) -> None:
    package = package_of(sites, MIB // 2)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.br("parcel", "limits", "--site-quota", "1KB")
    hq, br = open_site(sites.hq.path), open_site(sites.br.path)
    outgoing = open_outgoing(hq, parcel)
    pieces = NetworkPieces(outgoing, ())
    with pieces.reading(hq) as blocks, pytest.raises(RefusedError) as caught:
        take_table_part(
            br, TablePart.parse(pieces.signed(hq, "BR1", 10**18, 1, blocks).payload), parse_envelope(outgoing.envelope)
        )
    assert caught.value.code == "full"


def test_what_cannot_be_sent_is_said(sites: Sites) -> None:
    package = package_of(sites, MIB // 2)
    parcel = create(sites.hq, package, capacity="20MB")
    sites.hq.fails("parcel", "send", parcel, code=2)
    sites.hq.fails("parcel", "send", parcel, "--by-network", "--volume", "9", code=6)
    sites.hq.fails("parcel", "send", parcel, "--by-network", "--to", "ZZZ", code=6)
    sites.hq.fails("parcel", "send", parcel, "--by-network", "--window", "1MB", code=2)
    sites.hq.fails("parcel", "send", parcel, "--by-network", "--stop", code=3)
    sites.hq("channel", "address", "remove", "BR1", sites.root / "share")
    assert sites.hq.fails("parcel", "send", parcel, "--by-network", code=3)["code"] == "no-address"
