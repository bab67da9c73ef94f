"""Damage on the journey: located, mended from parity, then by the network or by files; kept, built again, drilled."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from journey import Home, Sites, add, create, exported, make_sites, noise, sent, shrinking_noise, write

from courier.files import locked
from courier.media import reading as media
from courier.media.finding import find_all_media
from courier.media.reading import LAYOUTS
from courier.site.home import open_site
from formats.documents.repair import PART_TYPE, RepairPart
from formats.envelope import parse_envelope

MIB = 1 << 20


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def package_of(sites: Sites, size: int = 7 * MIB) -> str:
    source = sites.root / "noise.bin"
    source.write_bytes(noise(size))
    return add(sites.hq, source)


def imported_right(sites: Sites, package: str) -> None:
    assert exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


# --- locating -------------------------------------------------------------------------------------------------------

REAL_FIND = find_all_media
Fault = Callable[[bytes, int], bytes]


class FaultyMedium:
    """A medium whose payload is read through a fault: it gets the bytes and where they begin in their file."""

    def __init__(self, medium: media.Medium, fault: Fault) -> None:
        self._medium, self._fault = medium, fault
        self.name, self.layout = medium.name, medium.layout

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        for path, size, stream in self._medium.walk():
            yield path, size, _Faulty(stream, self._fault) if path.startswith("data/") else stream  # type: ignore[misc]


class _Faulty(io.RawIOBase):
    def __init__(self, stream: BinaryIO, fault: Fault) -> None:
        super().__init__()
        self._stream, self._fault, self._at = stream, fault, 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = self._stream.seek(offset, whence)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        data = self._fault(self._stream.read(size), self._at)
        self._at += len(data)
        return data


def unreadable(*blocks: int) -> Fault:
    """Sectors in these blocks that the drive gives up on."""

    def fault(data: bytes, at: int) -> bytes:
        if any(at <= block * MIB + 4096 < at + len(data) for block in blocks):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    return fault


def flipped(*blocks: int) -> Fault:
    """One bit in each of these blocks is another."""

    def fault(data: bytes, at: int) -> bytes:
        changed = bytearray(data)
        for block in blocks:
            place = block * MIB + 77 - at
            if 0 <= place < len(changed):
                changed[place] ^= 4
        return bytes(changed)

    return fault


def ends_at(block: int) -> Fault:
    """The file stops in the middle of this block."""
    return lambda data, at: data[: max(0, block * MIB + 1000 - at)]


def receive_faulty(sites: Sites, fault: Fault, monkeypatch: pytest.MonkeyPatch, *paths: Path) -> dict[str, Any]:
    with monkeypatch.context() as patch:
        patch.setattr(
            "courier.receiving.receive.find_all_media",
            lambda paths, ask, note: [FaultyMedium(found, fault) for found in REAL_FIND(paths, ask, note)],
        )
        return sites.br("parcel", "receive", *paths, code=None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bad_blocks_are_listed_and_readings_on_other_days_and_drives_add_up(
    sites: Sites, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites)
    parcel, (volume,) = sent(
        sites.hq, package, layout=layout, out=sites.root / "out", capacity="20MB", redundancy="none"
    )
    sites.sync()
    document = receive_faulty(sites, unreadable(2, 5), monkeypatch, volume)
    assert document["error"]["code"] == "damaged"
    assert document["volumes"][0]["bad"][0]["blocks"] == [[2, 2], [5, 5]]
    # A drive that reads other places wrong adds what it can: block 5, not block 2; what is here is not read again.
    document = receive_faulty(sites, flipped(0, 2), monkeypatch, volume)
    assert document["volumes"][0]["bad"][0]["blocks"] == [[2, 2]]
    document = receive_faulty(sites, ends_at(2), monkeypatch, volume)
    assert document["volumes"][0]["bad"][0]["blocks"] == [[2, 2]]
    shown = sites.br("parcel", "show", parcel)
    (one,) = shown["volumes"]
    assert one["blocks"]["good"] == one["blocks"]["total"] - 1
    assert [item["missing"] for item in one["blocks"]["files"]] == [[[2, 2]]]
    assert "##.####" in sites.br.says("parcel", "show", parcel)
    assert sites.br("parcel", "receive", volume)["state"] == "Imported"
    imported_right(sites, package)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", [unreadable(1, 3), flipped(2, 6), ends_at(5)], ids=["unreadable", "flipped", "end"])
def test_damage_within_the_redundancy_of_a_medium_is_mended_as_it_is_received(
    sites: Sites, layout: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites, 6 * MIB)
    _, (volume,) = sent(sites.hq, package, layout=layout, out=sites.root / "out", capacity="20MB", redundancy="50%")
    sites.sync()
    document = receive_faulty(sites, fault, monkeypatch, volume)
    assert document["volumes"][0]["damaged_blocks"] > 0
    assert document["state"] == "Imported"
    imported_right(sites, package)


def test_a_disc_of_several_is_mended_by_its_own_parity_at_once_and_by_spare_volumes_when_all_have_come(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites, 9 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="8MB", redundancy="50%")
    assert len(volumes) > 1
    sites.sync()
    document = receive_faulty(sites, unreadable(1), monkeypatch, volumes[0])
    assert "error" not in document
    assert document["volumes"][0]["damaged_blocks"] > 0
    assert document["mended_blocks"] == 1
    assert 1 not in document["missing_volumes"]
    assert sites.br("parcel", "receive", *volumes[1:])["state"] == "Imported"
    imported_right(sites, package)
    # Block 1 of both discs is bad, more than one spare volume makes up for; block 0 of one is not.
    package = package_of(sites, 10 * MIB)
    parcel, (one, two, spare) = sent(
        sites.hq, package, out=sites.root / "spare", capacity="8MB", redundancy="none", spare_volumes=1
    )
    sites.sync()
    receive_faulty(sites, unreadable(0, 1), monkeypatch, one)
    document = receive_faulty(sites, unreadable(1), monkeypatch, two)
    assert document["error"]["code"] == "damaged"
    assert f"courier parcel repair {parcel} --from-network" in document["error"]["hint"]
    assert document["mended_blocks"] == 0
    document = sites.br("parcel", "receive", spare)
    assert document["mended_blocks"] == 1
    assert document["missing_blocks"] == 2
    assert sites.br("parcel", "receive", one)["state"] == "Imported"


def test_a_damaged_volume_of_another_edition_is_damage_and_its_parity_is_said_not_to_count(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites, 20 * MIB)
    parcel, first = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", redundancy="10%")
    sites.sync()
    sites.br("parcel", "receive", first[0])
    anew = ("--out", sites.root / "anew", "--layout", "folder", "--capacity", "20MB")
    later = [Path(volume["path"]) for volume in sites.hq("parcel", "write", parcel, *anew)["volumes"]]
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    # What is missing is named by the layout of which most came: its volume 1 is damaged, its volume 2 has not come.
    document = receive_faulty(sites, unreadable(1), monkeypatch, later[0])
    assert document["missing_volumes"] == [1, 2]
    assert document["error"]["code"] == "damaged"
    assert "does not count" in " ".join(document["volumes"][0]["findings"])
    assert sites.br("parcel", "receive", *later)["state"] == "Imported"
    imported_right(sites, package)


def test_a_folder_that_fails_is_one_failure_and_the_other_media_are_taken(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(sites)
    _, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", redundancy="none")
    sites.sync()
    real = media.FolderMedium.walk

    def walk(self: media.FolderMedium) -> Iterator[tuple[str, int, BinaryIO]]:
        for number, item in enumerate(real(self)):
            if self.name == str(volumes[0]) and number == 3:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(media.FolderMedium, "walk", walk)
        document = sites.br("parcel", "receive", *volumes, code=4)
    assert len(document["volumes"]) == len(volumes) - 1
    assert "cannot be read any further" in document["failures"][0]["message"]
    assert sites.br("parcel", "receive", volumes[0])["state"] == "Imported"


# --- by network -----------------------------------------------------------------------------------------------------


def damaged_beyond(sites: Sites, **options: Any) -> tuple[str, str]:
    """A parcel of which the last two data volumes never arrive; (package, parcel)."""
    package = package_of(sites, 12 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", spare_volumes=1, **options)
    sites.sync()
    for volume in volumes[:2]:
        sites.br("parcel", "receive", volume, code=None)
    return package, parcel


def test_what_parity_cannot_mend_comes_by_network_and_the_import_follows_by_itself(sites: Sites) -> None:
    package, parcel = damaged_beyond(sites)
    left = sites.br("parcel", "repair", parcel, code=4)
    assert left["error"]["code"] == "incomplete"
    assert left["missing_blocks"] > 0
    asked = sites.br("parcel", "repair", parcel, "--from-network")["request"]
    assert asked["queued"]
    assert 0 < asked["blocks"] <= left["missing_blocks"]
    sites.sync(sites.br, sites.hq, sites.br, sites.hq)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    imported_right(sites, package)


def test_fewer_blocks_are_asked_for_than_are_missing_where_parity_helps(sites: Sites) -> None:
    package = package_of(sites, 12 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", spare_volumes=1)
    sites.sync()
    for volume in (volumes[0], volumes[-1]):
        sites.br("parcel", "receive", volume, code=None)
    asked = sites.br("parcel", "repair", parcel, "--from-network")
    assert asked["request"]["blocks"] < asked["missing_blocks"]
    sites.sync(sites.br, sites.hq, sites.br)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    imported_right(sites, package)


def test_a_request_asked_again_before_it_left_replaces_the_one_that_waits(sites: Sites) -> None:
    _, parcel = damaged_beyond(sites)
    for _ in range(3):
        sites.br("parcel", "repair", parcel, "--from-network")
    sites.sync(sites.br, sites.hq)
    asked = [e["text"] for e in sites.hq("parcel", "log", parcel)["log"] if e["event"] == "asked"]
    assert len(asked) == 1


@pytest.mark.parametrize("at_hand", [slice(2, None), slice(None)], ids=["the rest", "all at once"])
def test_a_request_that_another_reading_made_needless_is_not_sent(sites: Sites, at_hand: slice) -> None:
    _, parcel = damaged_beyond(sites)
    sites.br("parcel", "repair", parcel, "--from-network")
    volumes = sorted(path for path in (sites.root / "out").iterdir() if path.is_dir())
    assert sites.br("parcel", "receive", *volumes[at_hand])["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    assert not [e for e in sites.hq("parcel", "log", parcel)["log"] if e["event"] == "asked"]


def test_by_files_where_there_is_no_channel_in_parts_in_any_order_again_and_again(sites: Sites) -> None:
    package = package_of(sites, 30 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="8MB", redundancy="none")
    sites.sync()
    sites.br("parcel", "receive", volumes[0])
    request, answers = sites.root / "request", sites.root / "answers"
    sites.br("parcel", "repair", parcel, "--request-out", request)
    first = sites.hq("parcel", "answer", request, "--out", answers)
    assert first["parts"] >= 2
    assert all(Path(path).stat().st_size <= 16 * MIB for path in first["paths"])
    before = {path: Path(path).read_bytes() for path in first["paths"]}
    # Stopped and started again it is the same to the byte.
    Path(first["paths"][-1]).unlink()
    sites.hq("parcel", "answer", request, "--out", answers)
    assert {path: Path(path).read_bytes() for path in first["paths"]} == before
    last = first["paths"][-1]
    taken = sites.br("parcel", "repair", parcel, "--reply", last, code=4)["taken"]
    assert taken > 0
    assert sites.br("parcel", "repair", parcel, "--reply", last, code=4)["taken"] == 0
    document = sites.br("parcel", "repair", parcel, "--reply", answers)
    assert document["state"] == "Imported"
    imported_right(sites, package)
    assert sites.br("parcel", "repair", parcel, "--reply", answers)["taken"] == 0


def test_a_folder_of_answers_gives_all_that_is_this_parcels_whatever_else_lies_in_it(sites: Sites) -> None:
    package = package_of(sites, 30 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="8MB", redundancy="none")
    other, more = sent(sites.hq, package, out=sites.root / "other", capacity="20MB", redundancy="none")
    sites.sync()
    sites.br("parcel", "receive", volumes[0])
    sites.br("parcel", "receive", more[-1])
    answers = sites.root / "answers"
    for one in (parcel, other):
        sites.br("parcel", "repair", one, "--request-out", sites.root / one)
        sites.hq("parcel", "answer", sites.root / one, "--out", answers)
    mine = sorted(answers.glob(f"{parcel}*"))
    assert len(mine) > 1
    # Copied in part: it is named, and the others are taken.
    whole = mine[0].read_bytes()
    mine[0].write_bytes(whole[:1000])
    (answers / "folder.repair").mkdir()
    failed = sites.br.fails("parcel", "repair", parcel, "--reply", answers, code=4)
    assert str(mine[0]) in failed["message"]
    assert "of other parts kept" in failed["message"]
    mine[0].write_bytes(whole)
    assert sites.br.fails("parcel", "repair", other, "--reply", mine[0], code=3)["hint"] == (
        f"courier parcel repair {parcel} --reply {mine[0]}"
    )
    last = sites.br("parcel", "repair", parcel, "--reply", answers)
    assert 0 < last["taken"] <= 11
    assert last["state"] == "Imported"
    for path in answers.glob(f"{other}*"):
        path.unlink()
    assert parcel in sites.br.fails("parcel", "repair", other, "--reply", answers, code=6)["message"]
    imported_right(sites, package)


@pytest.mark.skipif(os.name == "nt", reason="no pipes there")
def test_what_has_no_end_is_neither_read_as_an_answer_nor_taken_for_a_request(sites: Sites) -> None:
    _, parcel = damaged_beyond(sites)
    pipe, image = sites.root / "pipe", sites.root / "image.wim"
    os.mkfifo(pipe)
    image.touch()
    os.truncate(image, 1 << 40)
    for target in (pipe, image):
        failed = sites.br.fails("parcel", "repair", parcel, "--request-out", target, code=3)
        assert failed["code"] == "target-exists"
    for source in (pipe, "/dev/zero"):
        sites.br.fails("parcel", "repair", parcel, "--reply", source, code=6)


def test_requests_and_answers_go_to_paths_that_are_not_utf_8(sites: Sites) -> None:
    _, parcel = damaged_beyond(sites)
    odd = sites.root / os.fsdecode(b"stick \xff")
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    sites.br("parcel", "repair", parcel, "--request-out", odd / "request")
    assert sites.hq("parcel", "answer", odd / "request", "--out", odd)["parts"] == 1
    assert sites.br("parcel", "repair", parcel, "--reply", odd)["state"] == "Imported"


def test_nothing_is_asked_for_nor_taken_of_a_parcel_that_is_refused_here(sites: Sites) -> None:
    _, parcel = damaged_beyond(sites)
    sites.br("parcel", "repair", parcel, "--from-network")
    sites.br("parcel", "refuse", parcel, "--reason", "not ours")
    before = sites.br("parcel", "show", parcel)["missing_blocks"]
    assert sites.br.fails("parcel", "repair", parcel, "--from-network", code=3)["code"] == "parcel-refused"
    sites.sync(sites.br, sites.hq, sites.br)
    assert sites.br("parcel", "show", parcel)["missing_blocks"] == before > 0
    sites.br("parcel", "accept", parcel)
    sites.br("parcel", "repair", parcel, "--from-network")
    sites.sync(sites.br, sites.hq, sites.br)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_a_disk_that_fills_up_while_mending_is_named(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    _, parcel = damaged_beyond(sites)
    sites.br("parcel", "repair", parcel, "--request-out", sites.root / "request")
    (answer,) = sites.hq("parcel", "answer", sites.root / "request", "--out", sites.root / "answers")["paths"]

    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("courier.receiving.spool.Filling.write", full)
        failed = sites.br.fails("parcel", "repair", parcel, "--reply", answer, code=5)
        assert f"writing an answer for {parcel}: the disk of {sites.br.path}" in failed["message"]
    sites.br("parcel", "repair", parcel, "--reply", answer)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_above_the_limit_the_sender_says_what_reshipping_costs_and_sends_with_a_yes(sites: Sites) -> None:
    package, parcel = damaged_beyond(sites)
    sites.hq("parcel", "limits", "--repair", "1MB")
    sites.br("parcel", "repair", parcel, "--from-network")
    sites.br("channel", "sync")
    assert "courier parcel answer" in sites.hq.says("channel", "sync")
    told = sites.br.says("channel", "sync")
    assert f"{parcel}: waits-there: our repair-request, at HQ1: " in told
    assert "its operator decides. Call there: the blocks, or volumes 3 to 4 shipped again" in told
    assert sites.br("parcel", "show", parcel)["state"] == "Arriving"
    (waiting,) = sites.hq("parcel", "show", parcel)["requests"]
    log = [entry["text"] for entry in sites.hq("parcel", "log", parcel)["log"]]
    assert any(f"parcel write {parcel} --layout folder --out DIR --volume 3 --volume 4" in text for text in log)
    refused = Home.ran(sites.hq, "parcel", "answer", waiting["path"], code=0)  # Home says --yes by itself
    assert refused.document["queued"]
    sites.sync(sites.hq, sites.br, sites.hq)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert sites.hq("parcel", "show", parcel)["requests"] == []
    imported_right(sites, package)


def test_without_a_yes_nothing_above_the_limit_is_sent(sites: Sites) -> None:
    from journey import run

    _, parcel = damaged_beyond(sites)
    sites.hq("parcel", "limits", "--repair", "1MB")
    sites.br("parcel", "repair", parcel, "--request-out", sites.root / "request")
    ran = run("parcel", "answer", sites.root / "request", "--home", sites.hq.path, "--json", code=3)
    assert ran.error["code"] == "over-limit"
    assert "reshipping volume" in ran.error["message"]
    assert f"courier parcel write {parcel} --layout" in ran.error["hint"]


def test_wrong_blocks_and_answers_of_others_are_never_taken(sites: Sites) -> None:
    package, parcel = damaged_beyond(sites)
    sites.br("parcel", "repair", parcel, "--request-out", sites.root / "request")
    made = sites.hq("parcel", "answer", sites.root / "request", "--out", sites.root / "answers")
    path = Path(made["paths"][0])
    part = RepairPart.parse(parse_envelope(path.read_bytes()).payload)

    def signed_by(home: Home, data: bytes) -> Path:
        bad = RepairPart(
            parcel=part.parcel,
            build=part.build,
            source=part.source,
            site=part.site,
            issued_ns=part.issued_ns,
            request=part.request,
            part=part.part,
            of=part.of,
            files=part.files,
            data=data,
        )
        site = open_site(home.path)
        target = sites.root / "bad.repair"
        target.write_bytes(site.sign(bad.payload(), PART_TYPE).encode())
        site.close()
        return target

    data = bytearray(part.data)
    data[5] ^= 1
    before = sites.br("parcel", "show", parcel)["missing_blocks"]
    # One block altered, though signed by the sender: that one is named, the others are taken.
    assert (
        "1 block of the answer"
        in sites.br.fails("parcel", "repair", parcel, "--reply", signed_by(sites.hq, bytes(data)), code=4)["message"]
    )
    assert sites.br("parcel", "show", parcel)["missing_blocks"] == before - part.count + 1
    for forged in (signed_by(sites.br, bytes(part.data)), signed_by(sites.hq, bytes(part.data)[:-1])):
        sites.br.fails("parcel", "repair", parcel, "--reply", forged, code=3)
    altered = sites.root / "altered.repair"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] = ord("A") if raw[len(raw) // 2] != ord("A") else ord("B")
    altered.write_bytes(raw)
    assert sites.br("parcel", "repair", parcel, "--reply", altered, code=None)["error"]
    assert sites.br("parcel", "repair", parcel, "--reply", *made["paths"])["state"] == "Imported"
    imported_right(sites, package)


def test_commands_of_a_repair_at_the_wrong_site_say_which_is_the_right_one(sites: Sites) -> None:
    _, parcel = damaged_beyond(sites)
    request = sites.root / "request"
    sites.br("parcel", "repair", parcel, "--request-out", request)
    failed = sites.br.fails("parcel", "answer", request, code=3)
    assert (failed["code"], failed["hint"].startswith("hand it to HQ1")) == ("not-for-us", True)
    assert "this site" in sites.hq.fails("parcel", "repair", parcel, code=6)["message"]
    # The request in place of its answer.
    failed = sites.br.fails("parcel", "repair", parcel, "--reply", request, code=3)
    assert "name the right file" in failed["hint"]


def test_a_request_of_a_site_the_parcel_was_not_for_is_refused(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", redundancy="none", encrypt=False)
    other = sites.homes[2]
    sites.sync(sites.hq)
    sites.br("parcel", "receive", volumes[0])
    sites.br("parcel", "repair", parcel, "--request-out", sites.root / "request")
    envelope = parse_envelope((sites.root / "request").read_bytes())
    site = open_site(other.path)
    forged = site.sign(envelope.payload.replace(b'"from":"BR1"', b'"from":"BR2"'), envelope.payload_type)
    site.close()
    (sites.root / "forged").write_bytes(forged.encode())
    assert sites.hq.fails("parcel", "answer", sites.root / "forged", code=3)["code"] == "not-a-destination"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--from-network", "--request-out", "x"], 2),
        (["--reply", "nowhere"], 6),
        (["--request-out", "HQ1.card"], 3),
    ],
)
def test_silly_repairs_are_refused(
    sites: Sites, arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sites.root)
    package = package_of(sites)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", redundancy="none")
    sites.br("parcel", "receive", volumes[0])
    sites.br("parcel", "repair", parcel, *arguments, code=code)
    sites.br.fails("parcel", "repair", "HQ1-000099", code=6)


# --- keeping and building again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypt", [True, False])
@pytest.mark.parametrize("compress", ["auto", "none"])
def test_a_discarded_parcel_is_built_again_to_the_byte(sites: Sites, encrypt: bool, compress: str) -> None:
    folder = sites.root / "src"
    folder.mkdir()
    (folder / "noise.bin").write_bytes(noise(9 * MIB))
    (folder / "text.txt").write_bytes(b"the same line again\n" * 200_000)
    (folder / "copy.txt").write_bytes(b"the same line again\n" * 200_000)
    os.utime(folder / "copy.txt", ns=(10**18, 10**18))
    package = add(sites.hq, folder)
    parcel = create(sites.hq, package, capacity="5MB", encrypt=encrypt, compress=compress, spare_volumes=1)
    first = write(sites.hq, parcel, "folder", sites.root / "first")
    assert sites.hq("parcel", "discard", parcel)["freed"] > 0
    second = write(sites.hq, parcel, "folder", sites.root / "second")
    for one, other in zip(first, second, strict=True):
        files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
        assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
        assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)
    sites.hq("parcel", "discard", parcel)
    write(sites.hq, parcel, "iso", sites.root / "iso")


def shrinking_damaged_beyond(sites: Sites, **options: Any) -> tuple[str, str]:
    """As `damaged_beyond`, of content that is compressed."""
    source = sites.root / "shrinks.bin"
    source.write_bytes(shrinking_noise(16 * MIB))
    package = add(sites.hq, source)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", spare_volumes=1, **options)
    sites.sync()
    for volume in volumes[:2]:
        sites.br("parcel", "receive", volume, code=None)
    assert list((sites.hq.path / "parcels" / "out" / parcel / "packs").iterdir())
    return package, parcel


@pytest.mark.parametrize("damaged", [damaged_beyond, shrinking_damaged_beyond])
def test_blocks_of_a_discarded_parcel_are_made_again_for_an_answer(
    sites: Sites, damaged: Callable[[Sites], tuple[str, str]]
) -> None:
    package, parcel = damaged(sites)
    sites.hq("parcel", "discard", parcel)
    sites.br("parcel", "repair", parcel, "--from-network")
    sites.sync(sites.br, sites.hq, sites.br)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    imported_right(sites, package)


def test_a_pack_gone_bad_at_the_sender_is_made_again(sites: Sites) -> None:
    package, parcel = shrinking_damaged_beyond(sites)
    for pack in (sites.hq.path / "parcels" / "out" / parcel / "packs").iterdir():
        data = bytearray(pack.read_bytes())
        for at in range(0, len(data), MIB // 2):
            data[at] ^= 1
        pack.write_bytes(data)
    sites.br("parcel", "repair", parcel, "--from-network")
    sites.sync(sites.br, sites.hq, sites.br)
    imported_right(sites, package)


def test_content_gone_bad_at_the_sender_is_not_sent_and_said(sites: Sites) -> None:
    package, parcel = damaged_beyond(sites)
    (content,) = sites.hq.large_files()
    good = content.read_bytes()
    content.write_bytes(bytes(len(good)))
    sites.br("parcel", "repair", parcel, "--request-out", sites.root / "request")
    error = sites.hq.fails("parcel", "answer", sites.root / "request", "--out", sites.root / "a", code=4)
    assert "courier package verify" in error["hint"]
    write_again = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "again")
    assert sites.hq.fails(*write_again, code=4)["code"] == "build-damaged"
    # What the hint says puts it right.
    sites.hq("package", "verify", package, code=4)
    add(sites.hq, sites.root / "noise.bin")
    sites.hq(*write_again)
    sites.hq("parcel", "answer", sites.root / "request", "--out", sites.root / "a")


def test_where_the_package_is_gone_too_that_is_said_clearly(sites: Sites) -> None:
    package, parcel = damaged_beyond(sites)
    sites.hq("parcel", "discard", parcel)
    sites.hq("package", "remove", package)
    error = sites.hq.fails("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "again", code=4)
    assert error["code"] == "no-content"
    assert "noise.bin is not in the store any more" in error["message"]
    sites.br("parcel", "repair", parcel, "--request-out", sites.root / "request")
    assert sites.hq.fails("parcel", "answer", sites.root / "request", "--out", sites.root / "a", code=4)


def test_a_rebuild_that_comes_out_differently_is_refused(sites: Sites) -> None:
    _, parcel = damaged_beyond(sites, encrypt=True)
    sites.hq("parcel", "discard", parcel)
    (sites.hq.path / "parcels" / "out" / parcel / "encryption.seed").write_bytes(bytes(32))
    error = sites.hq.fails("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "again", code=4)
    assert error["code"] == "not-reproducible"
    assert "differs from the signed packing list" in error["message"]


def test_the_quota_discards_the_oldest_confirmed_parcel_and_never_one_that_is_not(sites: Sites) -> None:
    package = package_of(sites, 3 * MIB)
    parcels = []
    for number in range(3):
        parcel, volumes = sent(sites.hq, package, out=sites.root / f"out{number}", capacity="20MB", anyway="test")
        parcels.append(parcel)
        if number < 2:
            sites.sync(sites.hq, sites.br)
            sites.br("parcel", "receive", *volumes)
            sites.sync(sites.br, sites.hq)
    sizes = sites.hq("parcel", "limits")["built_bytes"]
    limit = sites.hq("parcel", "limits", "--quota", f"{sizes - 1}")
    assert [item["parcel_id"] for item in limit["discarded"]] == [parcels[0]]
    limit = sites.hq("parcel", "limits", "--quota", "1")
    assert [item["parcel_id"] for item in limit["discarded"]] == [parcels[1]]
    assert limit["over"] > 0
    assert list((sites.hq.path / "parcels" / "out" / parcels[2] / "parity-1").iterdir())
    sites.sync(sites.hq, sites.br)
    sites.br("parcel", "receive", sites.root / "out2")
    sites.sync(sites.br, sites.hq)
    assert not (sites.hq.path / "parcels" / "out" / parcels[2] / "parity-1").exists()


def test_a_quota_passes_over_a_parcel_that_another_command_uses(sites: Sites) -> None:
    """A build that runs keeps the lock of all parcels, a command that writes one that of its own: both stay."""
    package = package_of(sites, 3 * MIB)
    parcels = []
    for number in range(2):
        parcel, volumes = sent(sites.hq, package, out=sites.root / f"out{number}", capacity="20MB", anyway="test")
        parcels.append(parcel)
        sites.sync(sites.hq, sites.br)
        sites.br("parcel", "receive", *volumes)
        sites.sync(sites.br, sites.hq)
    out = sites.hq.path / "parcels" / "out"
    before = sites.hq("parcel", "limits")["built_bytes"]
    with locked(out / "lock"):
        limit = sites.hq("parcel", "limits", "--quota", "1")
    assert limit["discarded"] == []
    assert limit["built_bytes"] == before
    with locked(out / parcels[0] / "lock"):
        limit = sites.hq("parcel", "limits")
    assert [item["parcel_id"] for item in limit["discarded"]] == [parcels[1]]
    # The next run, such as a sync, discards what was in use.
    sites.sync(sites.hq)
    assert sites.hq("parcel", "limits")["built_bytes"] == 0
