"""A whole parcel goes from its media straight into the store; for reasons that are named it gathers in the spool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journey import Sites, add, exported, make_sites, noise, sent, write_files

from courier.errors import NoSpaceError
from courier.files import locked
from courier.parcel.import_checks import Room
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader
from courier.receiving import import_parcel as importing
from courier.receiving.import_facts import room_at
from courier.receiving.spool import Filling
from courier.receiving.straight import Aside, ImportedStraight, SteppedAside, import_straight
from formats.blocks import BlockTable


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


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the media whose documents were read."""
    names: list[str] = []
    real = VolumeReader.documents

    def documents(self: VolumeReader, *arguments: Any) -> VolumeDocuments:
        names.append(self._medium.name)
        return real(self, *arguments)

    monkeypatch.setattr(VolumeReader, "documents", documents)
    return names


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Aside | None]:
    """Why each import did not go straight; None for one that did."""
    reasons: list[Aside | None] = []

    def attempt(*arguments: Any, **named: Any) -> ImportedStraight | SteppedAside:
        done = import_straight(*arguments, **named)
        reasons.append(done.reason if isinstance(done, SteppedAside) else None)
        return done

    monkeypatch.setattr("courier.receiving.receive.import_straight", attempt)
    return reasons


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


def test_what_was_read_while_another_command_used_the_store_is_kept(sites: Sites) -> None:
    parcel, _ = sent(sites.hq, package_of(sites), out=sites.root / "media", capacity="2MB")
    sites.sync()
    with locked(sites.br.path / "store" / "lock"):
        sites.br.ran("parcel", "receive", sites.root / "media", code=9)
    assert sites.br("parcel", "show", parcel)["state"] == "Complete"
    assert sites.br("parcel", "import", parcel)["imported"]
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_damage_falls_back_to_the_spool_and_parity_mends(
    sites: Sites, filled: list[int], opened: list[str], attempts: list[Aside | None]
) -> None:
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
    assert attempts == [Aside.DAMAGED]
    assert sorted(opened) == sorted(map(str, volumes)), "documents are read once, and handed on"
    assert same_at_both(sites, package)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of blocks that were compared with the block table."""
    sizes: list[int] = []
    real = BlockTable.is_good

    def is_good(self: BlockTable, file: int, block: int, data: bytes) -> bool:
        sizes.append(len(data))
        return real(self, file, block, data)

    monkeypatch.setattr(BlockTable, "is_good", is_good)
    return sizes


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_large_content_that_is_stored_as_it_is_is_compared_by_its_own_digest_alone(
    sites: Sites, filled: list[int], compared: list[int], encrypt: bool
) -> None:
    package = add(sites.hq, write_files(sites.root / "source", image_bin=noise(30_000_000)))
    _, volumes = sent(
        sites.hq, package, layout="iso", out=sites.root / "media", capacity="20MB", redundancy="none", encrypt=encrypt
    )
    sites.sync()
    compared.clear()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert filled == []
    # The first and the last block of each archive, in which its structure is.
    assert sum(compared) < 8 << 20
    assert same_at_both(sites, package)


def test_what_is_parsed_or_expanded_is_compared_by_blocks_first(sites: Sites, compared: list[int]) -> None:
    package = add(
        sites.hq,
        write_files(
            sites.root / "source",
            log_txt=b"".join(b"%d the same line\n" % n for n in range(2_000_000)),
            small_txt=b"small",
        ),
    )
    _, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB", redundancy="none")
    sites.sync()
    compared.clear()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert sum(compared) >= sum(path.stat().st_size for path in volumes[0].glob("data/archives/*"))


@pytest.mark.parametrize("encrypt", [True, False])
def test_damage_in_a_large_content_is_found_and_the_rest_is_kept(
    sites: Sites, attempts: list[Aside | None], encrypt: bool
) -> None:
    package = add(sites.hq, write_files(sites.root / "source", image_bin=noise(30_000_000)))
    parcel, volumes = sent(
        sites.hq, package, layout="iso", out=sites.root / "media", capacity="20MB", redundancy="none", encrypt=encrypt
    )
    sites.sync()
    good = volumes[0].read_bytes()
    at = len(good) // 2
    volumes[0].write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    received = sites.br("parcel", "receive", *volumes, code=4)
    assert attempts == [Aside.DAMAGED]
    assert [volume["damaged_blocks"] for volume in received["volumes"]] == [1, 0]
    assert sites.br("package", "list")["packages"] == []
    assert not any(sites.br.large_files()), "nothing of a content that differs stays in the store"
    volumes[0].write_bytes(good)
    assert sites.br("parcel", "receive", volumes[0])["state"] == "Imported"
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
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


def test_without_the_notice_or_with_a_hold_volumes_gather(
    sites: Sites, filled: list[int], opened: list[str], attempts: list[Aside | None]
) -> None:
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB")
    assert sites.br("parcel", "receive", *volumes)["state"] == "Held"
    assert filled
    assert attempts == [Aside.AWAITING]
    assert opened == [str(volumes[0])]
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert same_at_both(sites, package)


def test_each_reason_to_step_aside_is_named_and_the_documents_are_read_once(
    sites: Sites, opened: list[str], attempts: list[Aside | None]
) -> None:
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="2MB", redundancy="none")
    other, foreign = sent(sites.hq, package, out=sites.root / "other", capacity="20MB", redundancy="none")
    sites.sync()

    def receives(reason: Aside, *media: Path, code: int = 0) -> None:
        attempts.clear()
        opened.clear()
        sites.br.ran("parcel", "receive", *media, code=code)
        assert attempts == [reason]
        assert sorted(opened) == sorted(map(str, media)) if reason != Aside.TAPE else opened

    receives(Aside.MIXED, *volumes, foreign[0])
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert sites.br("parcel", "show", other)["state"] == "Imported"
    receives(Aside.BEGUN, *volumes)
    sites.br("package", "remove", package)
    receives(Aside.INCOMPLETE, volumes[0])
    receives(Aside.BEGUN, *volumes)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    third, whole = sent(sites.hq, package, out=sites.root / "third", capacity="2MB", redundancy="none")
    documents = [whole[-1] / "courier" / name for name in ("packing-list.json", "volume-label.json")]
    good = [path.read_bytes() for path in documents]
    for path in documents:
        path.write_bytes(b"")
    sites.sync()
    receives(Aside.UNREADABLE, *whole, code=4)
    sites.br("parcel", "refuse", third, "--reason", "not wanted")
    for path, data in zip(documents, good, strict=True):
        path.write_bytes(data)
    receives(Aside.NOT_RECEIVED, *whole, code=3)
    _, tape = sent(sites.hq, package, layout="tape", out=sites.root / "tape", capacity="20MB", redundancy="none")
    receives(Aside.TAPE, *tape)


def test_an_import_that_is_refused_is_judged_before_the_media_are_read_and_held(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, attempts: list[Aside | None]
) -> None:
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB", redundancy="none")
    sites.sync()
    with monkeypatch.context() as patched:
        patched.setattr("courier.receiving.import_facts.held_listings", lambda _, items: dict.fromkeys(items, "0" * 64))
        patched.setattr(importing, "import_parcel", None)
        assert sites.br.fails("parcel", "receive", *volumes, code=3)["code"] == "version-conflict"
    assert attempts == [Aside.REFUSED]
    # Its content is here: the media are not needed again.
    assert sites.br("parcel", "import", parcel)["state"] == "Imported"
    assert same_at_both(sites, package)


def test_an_error_that_no_gathering_would_cure_ends_the_command(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, filled: list[int], attempts: list[Aside | None]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise NoSpaceError("the disk is full", hint="free space")

    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", capacity="20MB", redundancy="none")
    sites.sync()
    with monkeypatch.context() as patched:
        patched.setattr(importing, "_stage_archives", full)
        error = sites.br.fails("parcel", "receive", *volumes, code=5)
    assert (error["code"], error["message"]) == ("no-space", f"{parcel}: the disk is full")
    assert (attempts, filled) == ([None], [])
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


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
    largest = max(sites.br.large_files(), key=lambda path: path.stat().st_size)
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
        errors.append(sites.br.ran("parcel", "discard", parcel, code=9).error["code"])
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
