"""A whole parcel at hand goes from its media straight into the store; whatever is not right falls back to the spool."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import Sites, add, exported, make_sites, noise, sent, write_files

from courier.parcel.import_checks import Room
from courier.receiving import import_parcel as importing
from courier.receiving.import_facts import room_at
from courier.receiving.spool import Filling


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Blocks that were written to a spool."""
    blocks: list[int] = []
    real = Filling.write

    def write(self: Filling, block: int, data: bytes | memoryview) -> bool:
        blocks.append(block)
        return real(self, block, data)

    monkeypatch.setattr(Filling, "write", write)
    return blocks


def package_of(sites: Sites) -> str:
    return add(
        sites.hq,
        write_files(
            sites.root / "source",
            image_bin=noise(3_000_000),
            log_txt=b"the same line\n" * 200_000,
            empty_bin=b"",
            small_txt=b"small",
        ),
    )


def same_at_both(sites: Sites, package: str) -> bool:
    return exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


@pytest.mark.parametrize("layout", ["iso", "folder"])
@pytest.mark.parametrize("encrypt", [True, False])
def test_a_whole_parcel_is_not_copied_on_its_way_into_the_store(
    sites: Sites, filled: list[int], layout: str, encrypt: bool
) -> None:
    package = package_of(sites)
    parcel, _ = sent(
        sites.hq, package, layout=layout, out=sites.root / "media", capacity="2MB", spare_volumes=1, encrypt=encrypt
    )
    sites.sync()
    received = sites.br("parcel", "receive", sites.root / "media")
    assert received["state"] == "Imported"
    assert filled == []
    assert {volume["state"] for volume in received["volumes"]} == {"Received"}
    assert list((sites.br.path / "parcels" / "in").glob("HQ1*")) == []
    assert same_at_both(sites, package)
    log = [entry["event"] for entry in sites.br("parcel", "log", parcel)["log"]]
    assert log.index("received") < log.index("complete") < log.index("imported")
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_damage_falls_back_to_the_spool_and_parity_mends(sites: Sites, filled: list[int]) -> None:
    package = package_of(sites)
    _, volumes = sent(sites.hq, package, layout="iso", out=sites.root / "media", capacity="2MB", spare_volumes=1)
    sites.sync()
    data = bytearray(volumes[1].read_bytes())
    data[len(data) // 2] ^= 1
    volumes[1].write_bytes(data)
    received = sites.br("parcel", "receive", *volumes)
    assert filled
    assert received["state"] == "Imported"
    assert sorted(volume["state"] for volume in received["volumes"]).count("Damaged") == 1
    assert same_at_both(sites, package)


def test_bad_parity_alone_is_named_and_stops_nothing(sites: Sites, filled: list[int]) -> None:
    package = package_of(sites)
    _, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB", redundancy="10%")
    sites.sync()
    (parity,) = (volumes[0] / "data" / "parity").iterdir()
    data = bytearray(parity.read_bytes())
    data[0] ^= 1
    parity.write_bytes(data)
    received = sites.br("parcel", "receive", *volumes)
    assert (received["state"], filled) == ("Imported", [])
    assert received["volumes"][0]["damaged_blocks"] == 1
    assert same_at_both(sites, package)


def test_a_link_in_place_of_an_archive_is_not_followed(sites: Sites) -> None:
    package = package_of(sites)
    _, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB", redundancy="none")
    sites.sync()
    archive = next((volumes[0] / "data" / "archives").iterdir())
    elsewhere = sites.root / "elsewhere"
    archive.rename(elsewhere)
    archive.symlink_to(elsewhere)
    received = sites.br("parcel", "receive", *volumes, code=4)
    assert received["volumes"][0]["state"] == "Damaged"
    assert sites.br("package", "list")["packages"] == []


@pytest.mark.parametrize("moment", ["_record", "_stage_archives"])
def test_a_stop_on_the_way_changes_nothing_and_the_same_command_goes_on(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB")
    sites.sync()
    with monkeypatch.context() as patched:
        patched.setattr(importing, moment, stop)
        sites.br.ran("parcel", "receive", *volumes, code=8)
    assert sites.br("package", "list")["packages"] == []
    assert sites.br("parcel", "show", parcel)["state"] == "Arriving"
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert same_at_both(sites, package)


def test_without_the_notice_or_with_a_hold_volumes_gather(sites: Sites, filled: list[int]) -> None:
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB")
    assert sites.br("parcel", "receive", *volumes)["state"] == "Held"
    assert filled
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert same_at_both(sites, package)


@pytest.mark.parametrize("layout", ["iso", "tape"])
def test_what_was_removed_or_lost_since_the_import_comes_back_from_the_same_media(sites: Sites, layout: str) -> None:
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, layout=layout, out=sites.root / "media", capacity="20MB")
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    before = sites.br.state()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert sites.br.state()["store"] == before["store"]
    # Rotten content is taken out of use by verify, and the disc brings it back.
    largest = max(sites.br.contents(), key=lambda path: path.stat().st_size)
    largest.write_bytes(bytes(largest.stat().st_size))
    sites.br("package", "verify", code=4)
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert sites.br("package", "verify")["packages"][0]["state"] == "good"
    # So it does with a package that was removed.
    sites.br("package", "remove", package)
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert same_at_both(sites, package)
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_a_parcel_that_is_being_imported_is_not_discarded(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB")
    sites.br("parcel", "receive", *volumes, "--hold")
    sites.sync()
    errors = []
    real = importing._outcomes

    def outcomes(*arguments: object) -> object:
        errors.append(sites.br.ran("parcel", "discard", parcel, code=3).error["code"])
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "_outcomes", outcomes)
    sites.br("parcel", "import", parcel)
    assert errors == ["busy"]
    assert same_at_both(sites, package)


def test_space_for_the_archives_is_not_asked_for_where_they_are_not_copied(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites)
    _, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB", redundancy="none")
    sites.sync()
    asked: list[int] = []

    def room(folder: Path, needed: int, *, purpose: str) -> Room:
        asked.append(needed)
        return room_at(folder, needed, purpose=purpose)

    monkeypatch.setattr("courier.receiving.open_spool.room_at", room)
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    expanded = 3_000_000 + len(b"the same line\n") * 200_000 + 5
    assert asked == [expanded]
