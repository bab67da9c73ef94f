"""The custody ledger: whatever way its entries come it is the same, and whatever is altered in it is named."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey import FIXTURES, ROOT, Sites, add, create, make_home, make_sites, run, sent, write

from courier.channel.custody_exchange import share_ledgers
from courier.channel.handlers import take_message
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import RefusedError
from courier.parcel.custody import Ledger
from courier.parcel.custody_ledger import Happened, check_signature, next_entry
from courier.parcel.seals import judge_seals
from courier.site.catalog import custody as rows
from courier.site.catalog import packages, parcels
from courier.site.catalog.guests import ROW
from courier.site.home import Site, create_site, open_site
from courier.site.settings import Settings
from courier.site.trust import KnownSite, Trust
from formats.documents import custody as custody_doc
from formats.documents.custody import BY_HAND, MAIN, CustodyBatch, CustodyEntry, SealMark
from formats.errors import FormatError

PARCEL = "HQ1-000001"
BOOK = "0123456789abcdef"


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def written(site: Site, ledger: Ledger, book: str, what: Happened) -> bytes:
    """The envelope of a new entry in a ledger."""
    return ledger.envelopes[next_entry(site, ledger, book, what)]


class Story:
    """Entries of two sites in three books, each written by who knew all before him but for the stick."""

    def __init__(self, root: Path) -> None:
        self.hq = create_site(root / "HQ1", code="HQ1", name="HQ")
        self.br = create_site(root / "BR1", code="BR1", name="BR")
        self.trust = Trust(own="HQ1", known={"HQ1": KnownSite(card=self.hq.card), "BR1": KnownSite(card=self.br.card)})
        whole, stick = Ledger(parcel=PARCEL), Ledger(parcel=PARCEL)
        self.entries: list[bytes] = []
        for site, book, what in (
            (self.hq, MAIN, Happened(event="packed")),
            (self.hq, MAIN, Happened(event="sealed", seals=(SealMark(volume=1, serial="A1"),))),
            (self.hq, MAIN, Happened(event="handed-over", to="Vans", tracking="T-1")),
            (self.hq, BOOK, Happened(event="handed-over", to="Ferry")),
            (self.br, BOOK, Happened(event="seal-checked", seals=(SealMark(volume=1, serial="A1", found="intact"),))),
            (self.br, MAIN, Happened(event="received", volumes=(1,))),
            (self.br, MAIN, Happened(event="imported")),
            (self.hq, MAIN, Happened(event="note", note="thanks")),
        ):
            self.entries.append(written(site, stick if book == BOOK else whole, book, what))
        for data in self.entries:
            whole.add(data)
        self.entries.append(written(self.hq, whole, MAIN, Happened(event="note", note="closed")))

    def check(self, data: bytes, entry: CustodyEntry) -> None:
        check_signature(self.trust, data, entry)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("story"))


def ledger_of(entries: list[bytes]) -> Ledger:
    ledger = Ledger(parcel=PARCEL)
    for data in entries:
        ledger.add(data)
    return ledger


def test_a_whole_ledger_has_no_break(story: Story) -> None:
    view = ledger_of(story.entries).view(story.check)
    assert view.breaks == ()
    assert all(line.proved for line in view.lines)
    events = [line.entry.event for line in view.lines if line.entry.book == MAIN]
    assert events == ["packed", "sealed", "handed-over", "received", "imported", "note", "note"]


@settings(max_examples=60)
@given(st.data())
def test_any_order_doubles_losses_and_later_arrivals_give_the_same_ledger(story: Story, data: st.DataObject) -> None:
    everything = ledger_of(story.entries)
    came = data.draw(st.lists(st.sampled_from(story.entries), max_size=20))
    ledger = ledger_of(came)
    early = ledger.view(story.check)
    assert {item.kind for item in early.breaks} <= {"missing"}
    # An entry of which one that is here tells, and which has not come, is missed.
    lacking = everything.entries.keys() - ledger.entries.keys()
    named = {link.entry for e in ledger.entries.values() for link in e.after}
    named |= {e.previous for e in ledger.entries.values() if e.previous}
    assert bool(early.breaks) == bool(named & lacking)
    for late in data.draw(st.permutations(story.entries)):
        ledger.add(late)
    assert ledger.envelopes == everything.envelopes
    assert ledger.order() == everything.order()
    assert ledger.view(story.check) == everything.view(story.check)


@settings(max_examples=150)
@given(st.data())
def test_any_byte_altered_is_named(story: Story, data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(story.entries) - 1))
    entries = list(story.entries)
    at = data.draw(st.integers(0, len(entries[which]) - 1))
    altered = bytearray(entries[which])
    altered[at] ^= data.draw(st.integers(1, 255))
    entries[which] = bytes(altered)
    ledger, refused = Ledger(parcel=PARCEL), 0
    for one in entries:
        try:
            ledger.add(one)
        except FormatError:
            refused += 1
    # Either it is no entry any more, or its signature does not hold.
    assert refused == 1 or {item.kind for item in ledger.view(story.check).breaks} & {"tampered", "unproved"}


def test_two_entries_in_one_place_are_a_fork(story: Story) -> None:
    first = ledger_of(story.entries[:3])
    second = ledger_of(story.entries[:3])
    one = written(story.hq, first, MAIN, Happened(event="note", note="one story"))
    other = written(story.hq, second, MAIN, Happened(event="note", note="another"))
    view = ledger_of([*story.entries[:3], one, other]).view(story.check)
    assert [item.kind for item in view.breaks] == ["fork"]
    assert view.altered


def test_documents_come_back_as_they_went(story: Story) -> None:
    for name, entry in ledger_of(story.entries).entries.items():
        assert CustodyEntry.parse(entry.payload()) == entry
        assert len(name) == 64
    batch = CustodyBatch(parcel=PARCEL, site="HQ1", to="BR1", issued_ns=10**18, entries=tuple(story.entries))
    assert CustodyBatch.parse(batch.payload()) == batch


def test_both_sites_end_with_the_same_ledger(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.hq("parcel", "ship", parcel, "--carrier", "Vans", "--tracking", "T-1", "--seal", "1=A1")
    sites.sync()
    sites.br("parcel", "custody", "add", parcel, "--event", "seal-checked", "--seal", "1=A1")
    sites.br("parcel", "receive", *volumes)
    sites.sync(sites.br, sites.hq)
    ours, theirs = (home("parcel", "custody", "verify", parcel) for home in sites.homes)
    assert ours == theirs
    assert ours["custody_intact"] is True
    events = [entry["event"] for entry in ours["custody"]]
    assert events == [
        "packed",
        "written",
        "handed-over",
        # It was shipped anew before its notice had left.
        "taken-back",
        "sealed",
        "handed-over",
        "seal-checked",
        "received",
        "verified",
        "imported",
    ]
    assert ours["custody"][6]["seals"] == [{"volume": 1, "serial": "A1", "found": "intact"}]
    shown = sites.hq.says("parcel", "log", parcel)
    assert "handed-over, to Vans, tracking T-1" in shown
    assert "every signature and link is good" in shown


def test_a_site_of_many_destinations_passes_on_what_one_of_them_wrote(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), to=("BR1", "BR2"), out=tmp_path / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.sync(sites.br, sites.hq)
    other = sites.homes[2]
    other("channel", "sync")
    document = other("parcel", "log", parcel)
    assert [e["event"] for e in document["custody"] if e["site"] == "BR1"] == ["received", "verified", "imported"]
    # It has no card of BR1, so it cannot prove them; it does not call them altered.
    assert {item["kind"] for item in document["breaks"]} == {"unproved"}


def test_a_hand_over_on_the_road_is_written_offline_and_merged(sites: Sites) -> None:
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    stick = sites.root / "stick.ledger"
    sites.hq("parcel", "custody", "export", parcel, "--out", stick)
    # The branch has heard nothing of the parcel yet.
    document = sites.br(
        "parcel", "custody", "add", parcel, "--event", "received", "--seal-broken", "1", "--ledger", stick,
        "--operator", "Ann", "--note", "tape cut",
    )  # fmt: skip
    assert document["entry"]["seals"] == [{"volume": 1, "serial": "", "found": "broken"}]
    assert document["warnings"] == []
    assert sites.br.fails("parcel", "log", parcel, code=6)["code"] == "not-found"
    merged = sites.hq("parcel", "custody", "merge", stick)
    assert merged["added"] == 1
    assert sites.hq("parcel", "custody", "merge", stick)["added"] == 0
    last = sites.hq("parcel", "custody", "verify", parcel)["custody"][-1]
    assert (last["site"], last["operator"], last["note"]) == ("BR1", "Ann", "tape cut")
    assert last["book"] != MAIN


def test_a_ledger_file_that_was_altered_is_named_by_its_line(sites: Sites) -> None:
    stick = sites.root / "stick.ledger"
    for number in range(3):
        done = sites.hq(
            "parcel", "custody", "add", PARCEL, "--event", "note", "--note", f"n{number}", "--ledger", stick
        )
        assert ["new ledger" in text for text in done["warnings"]] == ([] if number else [True])
    lines = stick.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"sig":"', b'"sig":"A', 1)
    stick.write_bytes(b"\n".join(lines))
    ran = sites.br.ran("parcel", "custody", "merge", stick, code=3)
    assert ran.error["code"] == "ledger-altered"
    ((line, why),) = [(item["line"], item["message"]) for item in ran.document["refused"]]
    assert (line, why.count("custody entry: ")) == (2, 1)
    assert ran.document["added"] == 2
    # What lies between is missed.
    assert sites.br.fails("parcel", "custody", "verify", PARCEL, code=4)["code"] == "ledger-incomplete"
    assert "MISSING" in sites.br.says("parcel", "log", PARCEL)


def test_what_is_altered_in_the_catalogue_is_shown(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    sites.hq("parcel", "custody", "add", parcel, "--event", "note", "--note", "the seal is broken")
    with sqlite3.connect(sites.hq.path / "catalogue.sqlite") as connection:
        rows = connection.execute("SELECT entry, envelope FROM custody ORDER BY received_ns").fetchall()
        name, envelope = rows[-1]
        connection.execute("UPDATE custody SET envelope = ? WHERE entry = ?", (rows[0][1], name))
    assert sites.hq.fails("parcel", "custody", "verify", parcel, code=3)["code"] == "ledger-altered"
    assert "TAMPERED" in sites.hq.says("parcel", "log", parcel)
    # The entry itself, from where it went, puts it right.
    good = sites.root / "good"
    good.write_bytes(envelope + b"\n")
    sites.hq("parcel", "custody", "merge", good)
    assert sites.hq("parcel", "custody", "verify", parcel)["custody_intact"] is True


def test_only_the_sites_of_a_parcel_have_a_say_in_its_ledger(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=tmp_path / "media")
    hq, stranger = open_site(sites.hq.path), open_site(sites.homes[2].path)
    entry = written(stranger, Ledger(parcel=parcel), MAIN, Happened(event="received"))
    batch = CustodyBatch(parcel=parcel, site="BR2", to="HQ1", issued_ns=1, entries=(entry,))
    from dataclasses import replace

    batch = replace(batch, issued_ns=stranger.card.issued_ns + 1)
    with pytest.raises(RefusedError, match="neither its sender nor a destination"):
        take_message(hq, stranger.sign(batch.payload(), custody_doc.BATCH_TYPE).encode(), MESSAGE_HANDLERS)
    assert sites.hq("parcel", "show", parcel)["state"] == "Sent"


def shipped_with_a_seal(sites: Sites) -> tuple[str, Path]:
    """A parcel whose volume 1 left with seal B0003, and its ledger on a stick."""
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel, "--carrier", "Vans", "--seal", "1=B0003")
    stick = sites.root / "stick.ledger"
    sites.hq("parcel", "custody", "export", parcel, "--out", stick)
    return parcel, stick


def test_a_hand_over_does_not_replace_the_seal_that_was_put_on(sites: Sites) -> None:
    parcel, stick = shipped_with_a_seal(sites)
    entry = ("parcel", "custody", "add", parcel, "--ledger", stick)
    over = sites.hq(*entry, "--event", "handed-over", "--to", "Ferry", "--seal", "1=EVIL")
    assert over["entry"]["seals"] == [{"volume": 1, "serial": "EVIL", "found": "broken"}]
    assert "EVIL was read by HQ1" in over["warnings"][0]
    assert "B0003 was put on" in over["warnings"][0]
    for claim in ((), ("--seal-intact", "1")):
        said = sites.br.says(*entry, "--event", "seal-checked", "--seal", "1=EVIL", *claim)
        assert "seal EVIL on volume 1 BROKEN (B0003 was put on)" in said
        assert "INTACT" not in said
    assert "seal B0003 on volume 1 INTACT" in sites.br.says(*entry, "--event", "received", "--seal", "1=B0003")


def test_an_intact_seal_that_is_claimed_is_compared_again_by_who_reads_it(story: Story) -> None:
    ledger = ledger_of(story.entries[:3])
    seal = SealMark(volume=1, serial="EVIL", found="intact")
    ledger.add(written(story.br, ledger, MAIN, Happened(event="seal-checked", seals=(seal,))))
    seals = judge_seals(ledger.view(story.check).lines)
    assert seals.on[0, 1].serial == "A1"
    assert "EVIL was read by BR1" in seals.warnings[0]


def test_a_re_seal_is_said_and_compared_with_from_then_on(sites: Sites) -> None:
    parcel, stick = shipped_with_a_seal(sites)
    entry = ("parcel", "custody", "add", parcel, "--ledger", stick)
    said = sites.br.says(*entry, "--event", "sealed", "--seal", "1=CUSTOMS-9", "--operator", "Customs")
    assert "volume 1 was re-sealed by BR1 (Customs)" in said
    assert "CUSTOMS-9 in place of B0003 of HQ1" in said
    assert "seal CUSTOMS-9 on volume 1 INTACT" in sites.br.says(*entry, "--event", "received", "--seal", "1=CUSTOMS-9")
    merged = sites.hq.says("parcel", "custody", "merge", stick)
    assert f"Seals: {parcel}, volume 1 was re-sealed by BR1" in merged
    # What was never sealed at its source, and bears a seal now, was sealed by somebody else.
    other = sites.br.says(*entry, "--event", "sealed", "--seal", "2=X2")
    assert "seal X2 was put on by BR1" in other
    assert "not by HQ1, which sent it" in other


def test_a_re_seal_that_nobody_can_prove_is_not_compared_with(sites: Sites, tmp_path: Path) -> None:
    parcel, stick = shipped_with_a_seal(sites)
    stranger = make_home(tmp_path, "XX9")
    entry = ("parcel", "custody", "add", parcel, "--ledger", stick)
    stranger(*entry, "--event", "sealed", "--seal", "1=EVIL")
    done = sites.br(*entry, "--event", "seal-checked", "--seal", "1=EVIL")
    assert done["entry"]["seals"][0]["found"] == "broken"


def test_a_seal_without_a_number_in_the_ledger_proves_nothing(sites: Sites) -> None:
    parcel, stick = shipped_with_a_seal(sites)
    entry = ("parcel", "custody", "add", parcel, "--ledger", stick, "--event", "seal-checked")
    for typed in (("--seal", "2=Z9"), ("--seal-intact", "2"), ("--seal", "2=Z9", "--seal-intact", "2")):
        said = sites.br.says(*entry, *typed)
        assert "no proved entry names the seal that was put on: there is nothing to compare with" in said
        assert "NOTHING TO COMPARE WITH" in said
        assert "INTACT" not in said
    assert sites.br(*entry, "--seal", "2=Z9")["entry"]["seals"] == [{"volume": 2, "serial": "Z9", "found": ""}]


def test_a_broken_seal_is_named_wherever_the_parcel_is_looked_at(sites: Sites) -> None:
    parcel, stick = shipped_with_a_seal(sites)
    sites.br("parcel", "custody", "add", parcel, "--ledger", stick, "--event", "received", "--seal-broken", "1")
    word = "volume 1: seal B0003 was found BROKEN by BR1"
    assert f"Seals: {parcel}, {word}" in sites.hq.says("parcel", "custody", "merge", stick)
    for command in (("parcel", "show"), ("parcel", "custody", "verify"), ("parcel", "log")):
        assert word in sites.hq.says(*command, parcel)
        assert sites.hq(*command, parcel)["seal_warnings"][0].startswith(word)
    sites.sync()
    assert word in sites.br.says("parcel", "show", parcel)
    assert sites.hq("parcel", "custody", "verify", parcel)["custody_intact"] is True


def test_what_cannot_be_proved_is_cured_by_the_card_and_not_by_more_entries(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), to=("BR1", "BR2"), out=tmp_path / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.sync(sites.br, sites.hq, sites.homes[2])
    error = sites.homes[2].ran("parcel", "custody", "verify", parcel, code=4).error
    assert "is not proved: entry 1 of BR1" in error["message"]
    assert "courier site trust CARD" in error["hint"]
    assert "merge" not in error["hint"]
    sites.br("parcel", "custody", "add", parcel, "--event", "note", "--note", "not sent before the loss")
    new = sites.br("site", "rotate-key", "--lost")
    sites.br("site", "card", "--out", tmp_path / "new.card")
    sites.hq("site", "trust", tmp_path / "new.card", "--fingerprint", new["fingerprint"])
    # What came before the loss stays proved.
    assert sites.hq("parcel", "custody", "verify", parcel)["custody_intact"]
    sites.sync(sites.br, sites.hq)
    error = sites.hq.ran("parcel", "custody", "verify", parcel, code=4).error
    assert "was revoked" in error["message"]
    assert f"courier parcel custody add {parcel} --event note" in error["hint"]
    assert "merge" not in error["hint"]


def test_what_only_a_journey_writes_is_not_written_by_hand(sites: Sites) -> None:
    add_note = ("parcel", "custody", "add", PARCEL, "--ledger", sites.root / "stick")
    for event in ("written", "imported", "refused"):
        error = sites.hq.fails(*add_note, "--event", event, code=2)
        assert error["hint"] == f"one of {', '.join(BY_HAND)}"
    page = (ROOT / "docs" / "commands" / "parcel.md").read_text()
    assert f"| `--event EVENT` | What happened: {', '.join(BY_HAND)}. (required) |" in page
    for event in BY_HAND:
        sites.hq(*add_note, "--event", event, "--to", "Vans", "--seal", "1=A")


def test_an_entry_in_a_ledger_of_other_parcels_is_warned_of(sites: Sites) -> None:
    stick = sites.root / "stick.ledger"
    entry = ("parcel", "custody", "add")
    rest = ("--event", "note", "--note", "x", "--ledger", stick)
    sites.hq(*entry, "HQ1-000009", *rest)
    assert sites.hq(*entry, "HQ1-000009", *rest)["warnings"] == []
    odd = f"{stick} has no entry of HQ1-000099 yet; it is a ledger of HQ1-000009"
    assert sites.hq(*entry, "HQ1-000099", *rest)["warnings"] == [odd]
    # Parcels that travel together may share one file.
    assert sites.hq(*entry, "HQ1-000099", *rest)["warnings"] == []


def test_who_sees_that_the_ledger_is_of_another_parcel_can_stop(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = sites.root / "stick.ledger"
    rest = ("--event", "note", "--note", "x", "--ledger", stick, "--home", sites.hq.path)
    run("parcel", "custody", "add", "HQ1-000009", *rest)
    before = stick.read_bytes()
    monkeypatch.setattr("courier.cli.console._is_terminal", lambda _: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    ran = run("parcel", "custody", "add", "HQ1-000099", *rest, code=3)
    assert "it is a ledger of HQ1-000009" in ran.err
    assert stick.read_bytes() == before


def test_mistakes_at_the_keyboard(sites: Sites) -> None:
    for arguments, code in (
        (("--event", "eaten"), 2),
        (("--event", "handed-over"), 2),
        (("--event", "seal-checked"), 2),
        (("--event", "received", "--seal-broken", "0"), 2),
        (("--event", "received", "--seal", "x"), 2),
        (("--event", "received", "--seal-broken", "1", "--seal-intact", "1"), 2),
        (("--event", "received"), 6),
    ):
        sites.br.fails("parcel", "custody", "add", PARCEL, *arguments, code=code)
    sites.br.fails("parcel", "custody", "merge", sites.root / "nowhere", code=6)
    assert "name the ledger file" in sites.br.fails("parcel", "custody", "merge", sites.root, code=2)["hint"]
    sites.br.fails("parcel", "custody", "add", "HQ1", "--event", "note", code=2)


# --- what another site may put here ---------------------------------------------------------------------------------


def batch_of(writer: Site, parcel: str, to: str, *entries: bytes) -> bytes:
    """The message in which a site passes entries on."""
    batch = CustodyBatch(parcel=parcel, site=writer.code, to=to, issued_ns=time.time_ns(), entries=entries)
    return writer.sign(batch.payload(), custody_doc.BATCH_TYPE).encode()


def many_entries(writer: Site, parcel: str, count: int) -> list[bytes]:
    ledger = Ledger(parcel=parcel)
    return [written(writer, ledger, MAIN, Happened(event="note", note=str(n))) for n in range(count)]


def test_entries_of_a_parcel_that_nobody_knows_here_are_refused(sites: Sites) -> None:
    with closing(open_site(sites.hq.path)) as hq, closing(open_site(sites.br.path)) as br:
        invented = "HQ1-000077"
        with pytest.raises(RefusedError, match="announced no such parcel") as caught:
            take_message(br, batch_of(hq, invented, "BR1", *many_entries(hq, invented, 1)), MESSAGE_HANDLERS)
        assert caught.value.code == "not-announced"
        with br.catalogue.reading() as connection:
            assert rows.of_parcel(connection, invented) == []


def test_a_site_passes_on_only_so_many_entries_about_a_parcel(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.parcel.custody_ledger.MAX_FROM_SITE", 30)
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    with closing(open_site(sites.hq.path)) as hq, closing(open_site(sites.br.path)) as br:
        entries = many_entries(br, parcel, 40)
        for _ in range(2):  # a batch that comes again changes nothing
            take_message(hq, batch_of(br, parcel, "HQ1", *entries), MESSAGE_HANDLERS)
        with hq.catalogue.reading() as connection:
            kept = rows.of_parcel(connection, parcel)
            assert sum(one.source == "BR1" for one in kept) == 30
            log = [entry.text for entry in parcels.read_log(connection, parcel)]
        full = [text for text in log if "more than 30 custody entries" in text]
        assert len(full) == 2
        assert "and 9 more such faults" in full[0]


def test_what_one_site_puts_here_is_bounded_in_all_and_said(sites: Sites) -> None:
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    sites.hq("parcel", "limits", "--site-quota", "10kB")
    with closing(open_site(sites.hq.path)) as hq, closing(open_site(sites.br.path)) as br:
        room = hq.room_for("BR1")
        assert room == 10_000
        entries = many_entries(br, parcel, 16)
        take_message(hq, batch_of(br, parcel, "HQ1", *entries[:4]), MESSAGE_HANDLERS)
        assert hq.room_for("BR1") == room - sum(len(entry) + ROW for entry in entries[:4])
        take_message(hq, batch_of(br, parcel, "HQ1", *entries[:4]), MESSAGE_HANDLERS)  # known ones count once
        with pytest.raises(RefusedError, match="BR1 has put as much here as one site may, 10,000 bytes") as caught:
            for number in range(4, 16):
                take_message(hq, batch_of(br, parcel, "HQ1", entries[number]), MESSAGE_HANDLERS)
        assert caught.value.code == "full"
        assert "--site-quota" in caught.value.hint
    sites.hq("parcel", "limits", "--site-quota", "1MB")
    with closing(open_site(sites.hq.path)) as hq, closing(open_site(sites.br.path)) as br:
        take_message(hq, batch_of(br, parcel, "HQ1", *entries), MESSAGE_HANDLERS)


def test_definitions_and_notices_count_for_what_a_site_puts_here(sites: Sites) -> None:
    with closing(open_site(sites.br.path)) as br:
        before = br.room_for("HQ1")
    sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    with closing(open_site(sites.br.path)) as br, br.catalogue.reading() as connection:
        notices = [data for data, _ in parcels.notices(connection)]
        definitions = [data for data, _ in packages.find_definitions(connection, "HQ100001", 1, "HQ1").values()]
        custody = [one.envelope for one in rows.of_parcel(connection, PARCEL) if one.source == "HQ1"]
        kept = [*notices, *definitions, *custody]
        assert len(notices) == len(definitions) == 1
        assert custody
        assert before - br.room_for("HQ1") == sum(len(data) + ROW for data in kept)


def test_the_ledger_of_a_parcel_goes_to_a_site_after_its_notice(sites: Sites) -> None:
    """A site that does not know the parcel refuses the entries."""
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    with closing(open_site(sites.hq.path)) as hq:
        assert share_ledgers(hq) == 0
    sites.hq("channel", "sync")
    assert sites.br("channel", "sync")["refused"] == []
    assert run("parcel", "log", parcel, "--json", "--home", sites.br.path).document["custody"]


def test_a_ledger_file_tells_its_maker_nothing_of_a_parcel_that_was_never_made(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    with closing(open_site(sites.br.path)) as br:
        invented = many_entries(br, "HQ1-000077", 2)
        real = many_entries(br, parcel, 1)
        foreign = many_entries(br, "BR1-000005", 1)
    stick = sites.root / "stick.ledger"
    stick.write_bytes(b"".join(line + b"\n" for line in (*invented, *real, *foreign)))
    done = run("parcel", "custody", "merge", stick, "--json", "--home", sites.hq.path, code=3).document
    assert (done["added"], done["known"]) == (2, 0)
    assert done["parcels"] == ["BR1-000005", parcel]
    assert [item["line"] for item in done["refused"]] == [1, 2]
    assert "HQ1-000077 was not made here" in done["refused"][0]["message"]


def test_entries_of_every_book_of_the_catalogue_are_told_from_those_of_a_ledger_file(sites: Sites) -> None:
    """The catalogue is lost twice; a ledger file has what stood in each."""
    hq = sites.hq
    parcel, stick = shipped_with_a_seal(sites)
    for number in range(2):
        for path in hq.path.glob("catalogue.sqlite*"):
            path.unlink()
        hq("catalog", "rebuild", sites.root / "media")
        hq("parcel", "custody", "merge", stick)
        hq("parcel", "custody", "add", parcel, "--event", "note", "--note", f"lost {number}")
        stick = sites.root / f"stick-{number}"
        hq("parcel", "custody", "export", parcel, "--out", stick)
    books = Settings.load(hq.path).books
    assert len(set(books)) == 2
    kept = [entry["book"] for entry in hq("parcel", "custody", "verify", parcel)["custody"]]
    assert kept == [*[MAIN] * 4, *books]
    added = hq("parcel", "custody", "add", parcel, "--event", "note", "--note", "on the road", "--ledger", stick)
    assert added["entry"]["book"] not in {MAIN, *books}
    hq("parcel", "custody", "add", parcel, "--event", "note", "--note", "at home")
    hq("parcel", "custody", "merge", stick)
    assert hq("parcel", "custody", "verify", parcel)["custody_intact"] is True
