"""Progressive import: a package that is all here is used while the rest of its parcel is still on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journey import SMALL, Home, Sites, add, exported, make_sites, noise, sent
from sqlalchemy import Connection

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.files import locked
from courier.receiving.vouching import Vouching
from courier.sending.confirmation import take_receipt
from courier.site.catalog import Catalogue, parcels
from courier.site.home import open_site
from formats.documents.contents import PackageHeader
from formats.documents.fields import PackageRef
from formats.documents.receipt import Receipt
from formats.envelope import parse_envelope

PIECE = 160 << 10
"""Bytes of the smallest package; five of them fill a volume."""


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def three(sites: Sites, **options: Any) -> tuple[list[str], str, list[Path]]:
    """(packages, parcel, volumes) of a parcel of three packages on three volumes or more, the smallest first."""
    packages = []
    for number, size in enumerate((1, 5, 6), 1):
        source = sites.root / f"package{number}.bin"
        source.write_bytes(noise(size * PIECE, number))
        packages.append(add(sites.hq, source, name=f"Package {number}"))
    parcel, volumes = sent(sites.hq, *packages, out=sites.root / "out", capacity=SMALL, redundancy="none", **options)
    sites.sync()
    assert len(volumes) >= 3
    return packages, parcel, volumes


def receive(home: Home, *volumes: Path | str, code: int | None = 0) -> dict[str, Any]:
    return home("parcel", "receive", *volumes, "--progressive", code=code)


def imported(document: dict[str, Any]) -> list[str]:
    return [f"{one['package_id']}:{one['version']}" for one in document["packages"] if one["outcome"]]


def states(document: dict[str, Any]) -> dict[str, tuple[str | None, list[int]]]:
    return {
        f"{one['package_id']}:{one['version']}": (one["outcome"], one["missing_volumes"])
        for one in document["packages"]
    }


def test_a_package_is_used_from_volume_1_while_the_last_is_still_missing(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    document = receive(sites.br, volumes[0])
    assert document["state"] == "Importing"
    assert imported(document) == packages[:1]
    assert [one["package_id"] for one in document["imported"]] == [packages[0][:8]]
    assert exported(sites.br, packages[0], sites.root / "br1") == exported(sites.hq, packages[0], sites.root / "hq1")
    sites.br.fails("package", "export", packages[1], "--to", sites.root / "none", code=6)
    # The sender sees it, and nothing is confirmed.
    sites.sync(sites.br, sites.hq)
    shown = sites.hq("parcel", "show", parcel)
    assert shown["state"] == "Arriving"
    part = shown["to"][0]["part"]
    assert [f"{one['package_id']}:{one['version']}" for one in part["imported"]] == packages[:1]
    assert [f"{one['package_id']}:{one['version']}" for one in part["outstanding"]] == packages[1:]
    assert not shown["to"][0]["confirmed"]
    last = sites.br("parcel", "receive", *volumes[1:])
    assert last["state"] == "Imported"
    assert len(last["imported"]) == 2
    sites.sync(sites.br, sites.hq)
    shown = sites.hq("parcel", "show", parcel)
    assert (shown["state"], shown["to"][0]["part"]) == ("Confirmed", None)
    for number, package in enumerate(packages):
        assert exported(sites.br, package, sites.root / f"b{number}") == exported(
            sites.hq, package, sites.root / f"h{number}"
        )


def test_a_parcel_says_at_both_sites_what_is_usable_and_what_each_package_awaits(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    of = {
        f"{one['package_id']}:{one['version']}": one["volumes"] for one in sites.hq("parcel", "show", parcel)["usable"]
    }
    assert list(of) == packages
    assert of[packages[0]] == [1]
    assert f"{packages[0]} is usable from volume 1" in sites.hq.says("parcel", "show", parcel)
    said = sites.br.says("parcel", "receive", volumes[0], "--progressive")
    assert f"{packages[0]} imported" in said
    assert "1 of 3 packages imported" in said
    told = states(sites.br("parcel", "show", parcel))
    assert told[packages[0]] == ("imported", [])
    assert {name: missing for name, (_, missing) in told.items() if missing} == {
        name: [number for number in needed if number != 1] for name, needed in of.items() if needed != [1]
    }
    waiting = sites.br("status")["waiting"]
    assert any(f"usable already: {packages[0]} (1 of 3 packages)" in one["what"] for one in waiting)
    sites.sync(sites.br, sites.hq)
    assert any("1 of 3 packages imported there" in one["what"] for one in sites.hq("status")["waiting"])


def test_the_package_that_is_wanted_first_lies_on_the_first_volume(sites: Sites) -> None:
    for number, size in enumerate((2, 6, 4), 1):
        (sites.root / f"package{number}.bin").write_bytes(noise(size << 20, number))
    names = [add(sites.hq, sites.root / f"package{number}.bin") for number in (1, 2, 3)]
    parcel, volumes = sent(
        sites.hq, *names, out=sites.root / "out", capacity="5MB", redundancy="none", first=names[2][:8]
    )
    sites.sync()
    assert imported(receive(sites.br, volumes[0])) == [names[2]]
    error = sites.hq.fails(
        "parcel", "create", names[0], "--to", "BR1", "--capacity", SMALL, "--first", "HQ199999", code=2
    )
    assert names[0] in error["hint"]
    assert parcel


def test_the_policy_of_the_site_says_it_for_all_parcels_and_one_may_differ(sites: Sites) -> None:
    packages, _, volumes = three(sites)
    assert sites.br("site", "policy")["progressive"] is False
    assert sites.br("parcel", "receive", volumes[0])["state"] == "Arriving"
    assert sites.br("site", "policy", "--progressive")["progressive"] is True
    document = sites.br("parcel", "receive", volumes[0])
    assert (document["state"], imported(document)) == ("Importing", packages[:1])
    document = sites.br("parcel", "receive", volumes[1], "--no-progressive")
    assert (document["state"], imported(document)) == ("Importing", packages[:1])
    last = sites.br("parcel", "receive", *volumes[2:])
    assert last["state"] == "Imported"


def test_a_hold_holds_every_package_and_import_progressive_ends_it(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    document = receive(sites.br, volumes[0], "--hold")
    assert (document["state"], imported(document)) == ("Arriving", [])
    assert "the operator" in document["packages"][0]["awaiting"][0]
    document = sites.br("parcel", "import", parcel, "--progressive")
    assert (document["state"], imported(document)) == ("Importing", packages[:1])
    sites.br.fails("parcel", "import", parcel, code=4)


def test_nothing_is_imported_before_the_ship_notice_and_what_came_goes_in_with_the_sync(sites: Sites) -> None:
    packages = []
    for number in (1, 5):
        (sites.root / f"p{number}.bin").write_bytes(noise(number * PIECE, number))
        packages.append(add(sites.hq, sites.root / f"p{number}.bin"))
    _, volumes = sent(sites.hq, *packages, out=sites.root / "out", capacity=SMALL, redundancy="none")
    document = receive(sites.br, volumes[0])
    assert (document["state"], imported(document)) == ("Arriving", [])
    sites.sync()
    shown = sites.br("parcel", "show", document["parcel_id"])
    assert (shown["state"], imported(shown)) == ("Importing", packages[:1])


@pytest.mark.parametrize("way", ["network", "on-arrival"])
def test_a_key_that_comes_by_network_comes_before_any_package(sites: Sites, way: str) -> None:
    packages, parcel, volumes = _keyed(sites, way)
    document = receive(sites.br, volumes[0])
    if way == "network":
        assert (document["state"], imported(document)) == ("Importing", packages[:1])
    else:
        assert (document["state"], imported(document)) == ("Arriving", [])
        receive(sites.br, *volumes[1:])
        sites.sync(sites.br, sites.hq, sites.br)
        assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def _keyed(sites: Sites, way: str) -> tuple[list[str], str, list[Path]]:
    packages = []
    for number in (1, 5):
        (sites.root / f"p{number}.bin").write_bytes(noise(number * PIECE, number))
        packages.append(add(sites.hq, sites.root / f"p{number}.bin"))
    more = ["--key-by-network", *(["--release", "on-arrival"] if way == "on-arrival" else [])]
    made = sites.hq("parcel", "create", *packages, "--to", "BR1", "--capacity", SMALL, "--redundancy", "none", *more)
    parcel = str(made["parcel_id"])
    out = sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "out")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    return packages, parcel, [Path(one["path"]) for one in out["volumes"]]


def test_a_recall_stops_what_is_not_imported_and_both_sites_list_what_is(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    receive(sites.br, volumes[0])
    sites.sync(sites.br, sites.hq)
    sites.hq("parcel", "recall", parcel, "--reason", "wrong image")
    sites.sync(sites.hq, sites.br, sites.hq)
    shown = sites.br("parcel", "show", parcel)
    assert shown["state"] == "Refused"
    assert imported(shown) == packages[:1]
    assert {one["refused"] for one in shown["packages"] if not one["outcome"]} == {"recalled"}
    sites.br.fails("parcel", "receive", volumes[1], code=3)
    assert exported(sites.br, packages[0], sites.root / "br1")
    sites.br.fails("package", "export", packages[1], "--to", sites.root / "none", code=6)
    log = " ".join(one["text"] for one in sites.br("parcel", "log", parcel)["log"] if one["event"] == "refused")
    assert f"stays: {packages[0]}; not imported: {packages[1]}, {packages[2]}" in log
    there = sites.hq("parcel", "show", parcel)
    assert there["state"] == "Recalled"
    part = there["to"][0]["part"]
    assert part["ended"] == "recalled"
    assert [f"{one['package_id']}:{one['version']}" for one in part["imported"]] == packages[:1]
    assert f"not imported: {packages[1]}, {packages[2]}, recalled there" in sites.hq.says("parcel", "show", parcel)


def test_a_refusal_after_a_part_is_told_and_an_acceptance_goes_on(sites: Sites) -> None:
    _, parcel, volumes = three(sites)
    receive(sites.br, volumes[0])
    sites.br("parcel", "refuse", parcel, "--reason", "not ordered")
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["to"][0]["part"]["ended"] == "refused"
    sites.br("parcel", "accept", parcel)
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["to"][0]["part"]["ended"] is None
    assert sites.br("parcel", "receive", *volumes[1:])["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_a_package_that_may_not_be_imported_stops_no_other_and_is_named(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, parcel, volumes = three(sites)
    refused = packages[0].split(":")[0], 1
    with monkeypatch.context() as patch:
        patch.setattr(
            "courier.receiving.import_facts.held_listings",
            lambda _, items: {item: "0" * 64 for item in items if item == refused},
        )
        document = receive(sites.br, *volumes[:-1])
        assert imported(document) == packages[1:2]
        assert "other content" in document["packages"][0]["refused"]
        assert "not imported" in sites.br.says("status")
        error = sites.br.fails("parcel", "receive", volumes[-1], code=3)
        assert error["code"] == "version-conflict"
        shown = sites.br("parcel", "show", parcel)
        assert (shown["state"], imported(shown)) == ("Importing", packages[1:])
        assert "waits for a decision" in sites.br.says("status")
    assert sites.br("parcel", "import", parcel)["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_one_that_is_refused_only_while_it_is_staged_is_left_out_and_logged_once(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, parcel, volumes = three(sites)
    real = Vouching.check

    def check(self: Vouching, header: PackageHeader) -> None:
        if f"{header.package}:{header.version}" == packages[0]:
            raise RefusedError("its links lead outside", hint="ask")
        real(self, header)

    monkeypatch.setattr(Vouching, "check", check)
    for _ in range(2):
        document = receive(sites.br, *volumes[:-1])
        assert imported(document) == packages[1:2]
    log = [one["text"] for one in sites.br("parcel", "log", parcel)["log"] if one["event"] == "package-refused"]
    assert log == [f"{packages[0]} is not imported: its links lead outside"]


def test_a_package_that_is_held_already_is_said_to_be(sites: Sites) -> None:
    packages, _, volumes = three(sites)
    receive(sites.br, volumes[0])
    sites.br("parcel", "discard", sites.br("parcel", "list")["received"][0]["parcel_id"])
    document = receive(sites.br, volumes[0])
    assert document["imported"] == [
        {"package_id": packages[0][:8], "version": 1, "outcome": "already-held"},
    ]
    last = receive(sites.br, *volumes[1:])
    assert last["state"] == "Imported"


def test_two_commands_at_once_import_nothing_twice(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    sites.br("parcel", "receive", volumes[0])
    (spool,) = (path for path in (sites.br.path / "parcels" / "in").iterdir() if path.is_dir())
    others = sites.br.path / "locks" / f"arriving-{spool.name}"
    with locked(others):
        assert sites.br.fails("parcel", "import", parcel, "--progressive", code=9)["code"] == "busy"
    assert imported(sites.br("parcel", "import", parcel, "--progressive")) == packages[:1]
    with locked(others):
        # A sync leaves it to the command that has the parcel just now.
        done = sites.br("channel", "sync")
    assert (done["imported"], done["parcels"]) == ([], [])
    receipts = [one for one in sites.br("parcel", "log", parcel)["log"] if one["event"] == "part-imported"]
    assert len(receipts) == 1


def test_a_block_that_our_disk_lost_is_asked_for_again_and_the_package_waits(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    sites.br("parcel", "receive", volumes[0])
    (spool,) = (path for path in (sites.br.path / "parcels" / "in").iterdir() if path.is_dir())
    archive = spool / "archives" / "000001.7z.age"
    path = archive if archive.exists() else spool / "archives" / "000001.7z"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    error = sites.br.fails("parcel", "import", parcel, "--progressive", code=4)
    assert error["code"] == "spool-damaged"
    assert imported(sites.br("parcel", "show", parcel)) == []
    assert imported(receive(sites.br, volumes[0])) == packages[:1]


def test_receipts_that_come_late_or_twice_change_nothing(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    receive(sites.br, volumes[0])
    site = open_site(sites.br.path)
    with site.catalogue.reading() as connection:
        first = parcels.find_received(connection, parcel)[0].receipt
    assert first is not None
    receive(sites.br, *volumes[1:])
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    hq = open_site(sites.hq.path)
    envelope = parse_envelope(first)
    receipt = Receipt.parse(envelope.payload)
    assert [f"{one.package}:{one.version}" for one in receipt.packages] == packages[:1]
    for _ in range(2):
        assert take_receipt(hq, receipt, envelope) == ""
    shown = sites.hq("parcel", "show", parcel)
    assert (shown["state"], shown["to"][0]["part"]) == ("Confirmed", None)


@pytest.mark.parametrize(
    "change",
    [
        {"outstanding": ()},
        {"outstanding": (PackageRef(package="HQ100009", version=1, listing="ab" * 32),)},
    ],
)
def test_a_receipt_that_leaves_a_package_out_or_adds_one_is_refused(sites: Sites, change: dict[str, Any]) -> None:
    _, parcel, volumes = three(sites)
    receive(sites.br, volumes[0])
    site, hq = open_site(sites.br.path), open_site(sites.hq.path)
    with site.catalogue.reading() as connection:
        data = parcels.find_received(connection, parcel)[0].receipt
    assert data is not None
    envelope = parse_envelope(data)
    wrong = replace(Receipt.parse(envelope.payload), **change)
    with pytest.raises(RefusedError) as caught:
        take_receipt(hq, wrong, envelope)
    assert caught.value.code == Code.RECEIPT_DISAGREES


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_before_or_after_the_packages_are_recorded_the_same_command_goes_on(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    packages, parcel, volumes = three(sites)

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        target = "import_parcel._record" if moment == "before" else "progressive.expanded_bytes"
        patch.setattr(f"courier.receiving.{target}", kill)
        with pytest.raises(Killed):
            receive(sites.br, volumes[0])
    done = imported(sites.br("parcel", "show", parcel))
    assert done == ([] if moment == "before" else packages[:1])
    assert imported(receive(sites.br, volumes[0])) == packages[:1]
    assert receive(sites.br, *volumes[1:])["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    for number, package in enumerate(packages):
        assert exported(sites.br, package, sites.root / f"b{number}") == exported(
            sites.hq, package, sites.root / f"h{number}"
        )


def test_parity_completes_a_package_though_its_volume_was_lost(sites: Sites) -> None:
    packages = []
    for number, size in enumerate((1, 5, 6), 1):
        (sites.root / f"p{number}.bin").write_bytes(noise(size * PIECE, number))
        packages.append(add(sites.hq, sites.root / f"p{number}.bin"))
    _, volumes = sent(sites.hq, *packages, out=sites.root / "out", capacity=SMALL, redundancy="none", spare_volumes=1)
    sites.sync()
    assert imported(receive(sites.br, volumes[-1])) == []
    assert receive(sites.br, *volumes[1:-1])["state"] == "Imported"


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
def test_killed_at_any_transaction_it_goes_on_and_nothing_is_imported_twice(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    packages, parcel, volumes = three(sites)

    class Killed(BaseException):
        pass

    real, count = Catalogue.writing, 0

    @contextlib.contextmanager
    def writing(self: Catalogue) -> Iterator[Connection]:
        nonlocal count
        count -= 1
        if not count and not after:
            raise Killed
        with real(self) as connection:
            yield connection
        if not count and after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Catalogue, "writing", writing)
        for at in range(1, 9):
            for volume in (volumes[0], volumes[1]):
                count = at
                with contextlib.suppress(Killed):
                    receive(sites.br, volume, code=None)
    assert receive(sites.br, *volumes)["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    entries = [one["text"] for one in sites.br("parcel", "log", parcel)["log"] if "imported" in one["event"]]
    assert sorted(package for package in packages if any(package in text for text in entries)) == sorted(packages)
    assert sum(text.count("imported") for text in entries) == len(packages)
    custody = sites.br("parcel", "log", parcel)["custody"]
    assert sum(one["event"] == "verified" for one in custody) == 1
    for number, package in enumerate(packages):
        assert exported(sites.br, package, sites.root / f"b{number}") == exported(
            sites.hq, package, sites.root / f"h{number}"
        )
