"""On paper: labels are printed, scanned and taken in; a clerk has only these, a scanner's text and `intake`."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from journey import Home, Sites, add, create, make_sites, run, write
from scanned_labels import scan, words

from courier.parcel import custody_ledger
from courier.parcel.sheets import SHEETS
from courier.site.trust import Trust
from courier.text import volumes
from formats.documents.token import read_token, typed_check


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    return make_sites(tmp_path_factory.mktemp("paper"), "HQ1", "BR1", "BR2")


def shipped(sites: Sites, name: str) -> str:
    """A parcel of some volumes, one of them spare, written and shipped with two seals; BR1 knows of it."""
    source = sites.root / name
    source.mkdir()
    (source / "image.bin").write_bytes(os.urandom(1_800_000))
    package = add(sites.hq, source, name="Bild für Κέρκυρα и Москва")
    parcel = create(sites.hq, package, capacity="863KB", spare_volumes=1, redundancy="none")
    write(sites.hq, parcel, "folder", sites.root / f"{name}-out")
    sites.hq("parcel", "ship", parcel, "--seal", "1=A0012345", "--seal", "2=A0012346", "--carrier", "Speedy Vans")
    sites.sync(sites.hq, sites.br)
    return parcel


@pytest.fixture(scope="module")
def parcel(sites: Sites) -> str:
    """A parcel as `shipped` makes it, which no test changes."""
    return shipped(sites, "source")


def labels(sites: Sites, parcel: str, out: str, *options: object) -> list[str]:
    """The codes on the labels of a parcel, by volume, as a scanner reads them."""
    count = sites.hq("parcel", "labels", parcel, "--out", sites.root / out, *options)["labels"]
    return sorted(scan(sites.root / out, count), key=lambda text: read_token(text).document.number)


def test_a_clerk_has_only_paper_and_a_scanner(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = shipped(sites, "for-the-clerk")
    codes = labels(sites, parcel, "labels.pdf")
    of = read_token(codes[0]).document.of
    assert [read_token(code).document.number for code in codes] == list(range(1, of + 1))
    # Caps Lock is on; the first seal is right, the second is another, the third label was misread.
    lines = [codes[0].swapcase(), "a0012345", codes[1], "B7", codes[2][:-1] + "7A"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    ran = sites.br.ran("parcel", "intake", "--scan", "--operator", "Clerk", code=2)
    first, second, third = ran.document["labels"]
    assert (first["volume"], first["genuine"], first["recorded"]) == (1, True, True)
    assert first["seal"] == {"due": "A0012345", "read": "A0012345", "found": "intact"}
    assert second["seal"] == {"due": "A0012346", "read": "B7", "found": "broken"}
    assert third["error"]["code"] == "label-misread"
    assert ran.document["missing_volumes"] == list(range(3, of + 1))
    # Once more, later: nothing is entered twice.
    before = len(sites.br("parcel", "log", parcel)["custody"])
    again = sites.br("parcel", "intake", codes[0], "--seal", "A0012345")
    assert (again["parcel_id"], again["volume"], again["genuine"]) == (parcel, 1, True)
    assert again["labels"][0]["duplicate"]
    assert len(sites.br("parcel", "log", parcel)["custody"]) == before
    # The last volumes, one of them typed.
    typed = words(sites.root / "labels.pdf").split(f"{parcel} {of} ")[1].split()[0]
    by_hand = sites.br("parcel", "intake", "--typed", parcel.lower(), of, typed.lower())
    assert by_hand["genuine"] is None
    done = sites.br("parcel", "intake", *codes[2 : of - 1])
    assert done["missing_volumes"] == []
    entries = [e for e in sites.br("parcel", "log", parcel)["custody"] if e["site"] == "BR1"]
    assert {(e["operator"], e["event"], *e["volumes"]) for e in entries} >= {
        ("Clerk", "received", 1),
        ("Clerk", "seal-checked", 1),
        ("Clerk", "seal-checked", 2),
    }
    assert sorted(n for e in entries if e["event"] == "received" for n in e["volumes"]) == list(range(1, of + 1))
    assert next(e for e in entries if e["seals"] and e["volumes"] == [2])["seals"][0]["found"] == "broken"


def waits(home: Home, parcel: str, cause: str) -> list[str]:
    found = home("status")["waiting"]
    return [one["what"] for one in found if (one["cause"], one["parcel_id"]) == (cause, parcel)]


def test_status_says_what_is_at_the_desk_and_which_seal_was_wrong(sites: Sites) -> None:
    parcel = shipped(sites, "for-the-status")
    codes = labels(sites, parcel, "status.pdf")
    of = len(codes)
    sites.br("parcel", "intake", codes[0], "--seal", "A0012345")
    sites.br("parcel", "intake", codes[1], "--seal", "B7", code=3)
    (to_read,) = waits(sites.br, parcel, "to-read")
    assert "volumes 1 to 2 at the desk by label" in to_read
    (to_come,) = waits(sites.br, parcel, "under-way")
    assert to_come.endswith(f"arrives: {volumes(range(3, of + 1))} to come")
    (wrong,) = waits(sites.br, parcel, "seal")
    assert "the seal on volume 2 was found wrong or broken (read: B7)" in wrong
    # Once its media are read they wait no more; the seal does, even after the import.
    sites.br("parcel", "receive", *sorted((sites.root / "for-the-status-out").iterdir()))
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert not [what for cause in ("to-read", "under-way") for what in waits(sites.br, parcel, cause)]
    assert waits(sites.br, parcel, "seal") == [wrong]
    # The command that it names ends that.
    note = "put on anew by the carrier, who wrote to us"
    sites.br("parcel", "custody", "add", parcel, "--event", "note", "--volume", 2, "--note", note)
    assert not waits(sites.br, parcel, "seal")


def test_the_ledger_is_verified_once_however_many_labels_are_taken_in(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = shipped(sites, "many")
    codes = labels(sites, parcel, "many.pdf")
    verified: list[bytes] = []
    check = custody_ledger.check_signature

    def count(trust: Trust, data: bytes, *more: Any, **options: Any) -> None:
        verified.append(data)
        check(trust, data, *more, **options)

    monkeypatch.setattr(custody_ledger, "check_signature", count)
    sites.br("parcel", "intake", *codes)
    assert len(verified) == len(set(verified)) > len(codes)


def test_a_seal_that_was_misread_waits_no_more_once_it_is_read_right(sites: Sites) -> None:
    parcel = shipped(sites, "misread")
    codes = labels(sites, parcel, "misread.pdf")
    sites.br("parcel", "intake", codes[0], "--seal", "A0012340", code=3)
    assert len(waits(sites.br, parcel, "seal")) == 1
    sites.br("parcel", "intake", codes[0], "--seal", "A0012345")
    assert not waits(sites.br, parcel, "seal")


def test_labels_of_a_parcel_that_nobody_announced_are_in_the_status_too(sites: Sites) -> None:
    source = sites.root / "unheard-of.bin"
    source.write_bytes(os.urandom(300_000))
    parcel = create(sites.hq, add(sites.hq, source, name="Unheard of"), capacity="863KB", redundancy="none")
    write(sites.hq, parcel, "folder", sites.root / "unheard-of")
    code, *_ = labels(sites, parcel, "unheard-of.pdf")
    sites.br("parcel", "intake", code)
    (one,) = [one for one in sites.br("status")["waiting"] if one["parcel_id"] == parcel]
    assert (one["cause"], one["next"]) == ("to-read", f"courier parcel log {parcel}")
    sites.br(*one["next"].split()[1:])


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_sheet_can_be_scanned(sites: Sites, parcel: str, sheet: str) -> None:
    out = f"{sheet}.pdf"
    codes = labels(sites, parcel, out, "--sheet", sheet, "--offset", "0.5,-0.5", "--scale", "0.98", "--calibration")
    assert len(codes) == read_token(codes[0]).document.of
    text = words(sites.root / out)
    for wanted in ("SPARE", "BR1", "Site HQ1", "Drive", "A0012345", "Κέρκυρα и Москва", "HANDLE WITH CARE"):
        assert wanted in text
    before = (sites.root / out).read_bytes()
    sites.hq("parcel", "labels", parcel, "--out", sites.root / out, "--sheet", sheet, "--offset", "0.5,-0.5",
             "--scale", "0.98", "--calibration")  # fmt: skip
    assert (sites.root / out).read_bytes() == before


def test_labels_are_judged_with_a_card_alone(sites: Sites, parcel: str, tmp_path: Path) -> None:
    (code,) = labels(sites, parcel, "one.pdf", "--volume", 2)
    nowhere = tmp_path / "nowhere"
    card = sites.root / "HQ1.card"
    good = run("parcel", "intake", code, "--card", card, "--home", nowhere, "--json").document
    assert (good["parcel_id"], good["volume"], good["genuine"]) == (parcel, 2, True)
    assert good["labels"][0]["to"] == ["BR1"]
    assert not good["labels"][0]["recorded"]
    other = run("parcel", "intake", code, "--card", sites.root / "BR2.card", "--home", nowhere, "--json", code=3)
    assert (other.error["code"], other.document["genuine"]) == ("unknown-site", False)
    none = run("parcel", "intake", code, "--home", nowhere, "--json", code=6)
    assert "--card" in none.error["hint"]
    assert not nowhere.exists()


def test_a_label_for_another_site_or_of_another_layout_is_refused(sites: Sites) -> None:
    source = sites.root / "laid-out.bin"
    source.write_bytes(os.urandom(900_000))
    parcel = create(sites.hq, add(sites.hq, source, name="Laid out"), capacity="863KB", redundancy="none")
    write(sites.hq, parcel, "folder", sites.root / "laid-out")
    sites.hq("parcel", "ship", parcel)
    sites.sync(sites.hq, sites.br)
    (code,) = labels(sites, parcel, "wrong.pdf", "--volume", 1)
    sites.br("site", "trust", sites.root / "BR2.card")
    wrong = sites.homes[2].ran("parcel", "intake", code, code=3)
    assert (wrong.error["code"], wrong.document["genuine"]) == ("not-for-us", True)
    # The sender lays the parcel out anew, and ships that: the older label counts no more, here and there.
    sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "anew", "--capacity", "1200KB")
    at_sender = sites.hq.ran("parcel", "intake", code, code=3)
    assert at_sender.error["code"] == "label-superseded"
    sites.hq("parcel", "ship", parcel)
    sites.sync(sites.hq, sites.br)
    there = sites.br.ran("parcel", "intake", code, code=3)
    assert (there.error["code"], there.document["genuine"]) == ("label-superseded", True)
    (new,) = labels(sites, parcel, "new.pdf", "--volume", 1)
    assert sites.br("parcel", "intake", new)["genuine"] is True


def test_waybill_and_packing_note_say_what_travels(sites: Sites, parcel: str) -> None:
    sites.hq("parcel", "waybill", parcel, "--out", sites.root / "waybill.pdf", "--to", "BR1")
    waybill = words(sites.root / "waybill.pdf")
    for wanted in (parcel, "Speedy Vans", "handed-over", "seal-checked", "Signature", "Москва", "BR1 Site BR1"):
        assert wanted in waybill
    sites.hq("parcel", "packing-note", parcel, "--out", sites.root / "note.pdf", "--page", "letter")
    assert "spare" in words(sites.root / "note.pdf")
    sites.br("parcel", "packing-note", parcel, "--out", sites.root / "there.pdf")
    there = words(sites.root / "there.pdf")
    for wanted in (parcel, "HQ1 Site HQ1", "Speedy Vans", "courier parcel intake --scan"):
        assert wanted in there


def test_the_label_of_a_medium_that_was_replaced_counts_no_more(sites: Sites) -> None:
    source = sites.root / "small.bin"
    source.write_bytes(os.urandom(10_000))
    name = create(sites.hq, add(sites.hq, source, name="Small"), capacity="863KB")
    (volume,) = write(sites.hq, name, "folder", sites.root / "first")
    (old,) = labels(sites, name, "old.pdf")
    sites.hq("parcel", "ship", name, "--seal", "1=A1")
    sites.sync(sites.hq, sites.br)
    assert sites.br("parcel", "intake", old)["genuine"] is True
    # It is damaged on the way: another medium is written, sealed and shipped in its place.
    shutil.rmtree(volume)
    write(sites.hq, name, "folder", sites.root / "second")
    (new,) = labels(sites, name, "new-medium.pdf")
    sites.hq("parcel", "ship", name, "--seal", "1=A2")
    for _ in range(2):  # the notice, then the ledger
        sites.sync(sites.hq, sites.br)
    refused = sites.br.ran("parcel", "intake", old, code=3)
    assert (refused.error["code"], refused.document["genuine"]) == ("label-superseded", True)
    taken = sites.br("parcel", "intake", new, "--seal", "a2")
    assert taken["labels"][0]["seal"] == {"due": "A2", "read": "A2", "found": "intact"}
    assert not taken["labels"][0]["duplicate"]


def test_typed_labels_are_checked_and_prove_nothing(sites: Sites, parcel: str, tmp_path: Path) -> None:
    check = typed_check(parcel, 1, 1)
    alone = run("parcel", "intake", "--typed", parcel, 1, check, "--home", tmp_path / "none", "--json").document
    assert (alone["parcel_id"], alone["volume"], alone["genuine"]) == (parcel, 1, None)
    wrong = sites.br.ran("parcel", "intake", "--typed", parcel, 2, check, code=2)
    assert wrong.error["code"] == "label-misread"
    unknown = sites.br("parcel", "intake", "--typed", "HQ1-000900", 1, typed_check("HQ1-000900", 1, 1))
    assert not unknown["labels"][0]["recorded"]
    beyond = sites.br.ran("parcel", "intake", "--typed", parcel, 99, typed_check(parcel, 99, 1), code=6)
    assert beyond.document["genuine"] is None
    for options in ((), ("--scan", "--seal", "x"), ("A", "B", "--seal", "x")):
        assert sites.br.ran("parcel", "intake", *options, code=2).error["hint"]
    assert sites.br.ran("parcel", "intake", "HTTPS://EXAMPLE.ORG/1", code=2).error["code"] == "label-misread"


def test_labels_that_cannot_be_printed_are_refused(sites: Sites, parcel: str) -> None:
    out = sites.root / "never.pdf"
    labels_of = ("parcel", "labels", parcel, "--out", out)
    for options, code in (
        (("--sheet", "a5"), 2),
        (("--offset", "1"), 2),
        (("--scale", 2), 2),
        (("--volume", 77), 6),
        (("--set", 7), 6),
        (("--to", "BR2"), 6),
    ):
        assert sites.hq.fails(*labels_of, *options, code=code)
    assert not out.exists()
    source = sites.root / "tokyo.bin"
    source.write_bytes(b"x")
    other = create(sites.hq, add(sites.hq, source, name="東京"), capacity="863KB")
    refused = sites.hq.fails("parcel", "labels", other, "--out", out, code=3)
    assert refused["code"] == "not-printable"
    assert "U+6771" in refused["message"] or "U+4EAC" in refused["message"]
    assert sites.hq("parcel", "labels", other, "--out", out, "--codes-only")["labels"] == 1
    assert "HQ1" in words(out)


def test_the_medium_of_a_label_that_was_scanned_is_read_later(sites: Sites) -> None:
    source = sites.root / "damaged.bin"
    source.write_bytes(os.urandom(1_000_000))
    package = add(sites.hq, source, name="Damaged")
    name = create(sites.hq, package, capacity="863KB", redundancy="none")
    volumes = write(sites.hq, name, "folder", sites.root / "to-be-read")
    sites.hq("parcel", "ship", name)
    sites.sync(sites.hq, sites.br)
    sites.br("parcel", "intake", *labels(sites, name, "read.pdf"))
    (archive, *_) = sorted((volumes[0] / "data" / "archives").iterdir())
    archive.write_bytes(bytes(archive.stat().st_size))
    for _ in range(2):
        sites.br.ran("parcel", "receive", *volumes, code=None)
    entries = [e for e in sites.br("parcel", "log", name)["custody"] if e["site"] == "BR1"]
    assert sorted(n for e in entries if e["event"] == "received" for n in e["volumes"]) == [*range(1, len(volumes) + 1)]
    assert [e["note"] for e in entries if e["event"] == "note"] == ["damaged: volume 1"]


def test_a_scanner_that_types_anything_ends_nothing(sites: Sites, parcel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = labels(sites, parcel, "any.pdf", "--volume", 1)
    typed = b"\xff\xfe\x00CP1\n\n" + code.encode() + b"\n" + "\U000e0001".encode() * 40 + b"\n" + code.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
    ran = sites.br.ran("parcel", "intake", "--scan", code=2)
    assert [one["taken"] for one in ran.document["labels"]] == [False, True, True]
    assert "400 characters" in ran.error["message"]
