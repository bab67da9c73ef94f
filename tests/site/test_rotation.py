"""Renewed and lost keys, parcels a year under way, and wrong clocks, as an operator meets them."""

from __future__ import annotations

import os
import shutil
import time
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, run, sent, write

import courier.sending.build
from courier.channel.folder_transport import FolderTransport
from courier.receiving.complete import complete_parcel
from courier.receiving.parcel_status import find_build
from courier.receiving.receipts import sign_receipts_anew
from courier.site.home import open_site
from courier.site.rotation import rotate_key

DAY = 24 * 3600 * 10**9


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def typed(home: Home, *arguments: object) -> str:
    """The error of a command that a script gives without ``--yes`` and that must be refused."""
    return run(*arguments, "--home", home.path, code=3).err


def set_clock(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Set this computer's clock ``days`` ahead from now on."""
    real = time.time_ns

    def moved() -> int:
        return real() + days * DAY

    monkeypatch.setattr("courier.site.clock.time", SimpleNamespace(time_ns=moved))


def test_a_parcel_under_way_while_the_keys_were_renewed_is_imported(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    assert sites.hq("site", "rotate-key")["queued_to"] == ["BR1"]
    sites.br("site", "rotate-key")
    sites.sync()
    assert sites.br("site", "show", "HQ1")["serial"] == 2
    assert sites.br("parcel", "receive", *volumes)["imported"][0]["package_id"] == "HQ100001"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_of_several_rotations_the_last_card_alone_is_sent_and_nothing_is_refused(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    for _ in range(3):
        sites.br("site", "rotate-key")
    sites.br("parcel", "custody", "add", parcel, "--event", "note", "--note", "seal broken")
    sites.sync(sites.br, sites.hq, sites.br)
    assert sites.hq("site", "show", "BR1")["serial"] == 4
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    for home in (sites.hq, sites.br):
        assert not home("channel", "status")["dead_letters"]
    assert "seal broken" in sites.hq.says("parcel", "log", parcel)


def test_a_rotation_that_ended_before_its_card_was_queued_is_told_to_the_others_all_the_same(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("courier.site.rotation.announce_card", ended)
        sites.hq.fails("site", "rotate-key", code=8)
    sites.sync()
    assert sites.br("site", "show", "HQ1")["serial"] == 2


def test_volumes_written_and_shipped_after_the_keys_were_renewed_are_good(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    for _ in range(2):
        sites.hq("site", "rotate-key")
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_site_that_missed_some_cards_takes_the_newest(sites: Sites) -> None:
    for _ in range(3):
        newest = sites.hq("site", "rotate-key")
    sites.hq("site", "card", "--out", sites.root / "newest.card")
    sites.br("site", "trust", sites.root / "newest.card")
    assert sites.br("site", "show", "HQ1")["fingerprint"] == newest["fingerprint"]


@pytest.mark.parametrize("order", [1, -1])
def test_what_comes_before_the_card_it_needs_leaves_no_dead_letter_and_the_card_is_told(
    sites: Sites, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledgement signed by the new key may come before the card; it is judged again once the card is there."""
    sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync(sites.hq)
    sites.br("site", "rotate-key")
    sites.sync(sites.br)
    real = FolderTransport.fetch

    def size(came: tuple[str, bytes]) -> int:
        return order * len(came[1])

    monkeypatch.setattr(FolderTransport, "fetch", lambda *args: iter(sorted(real(*args), key=size)))
    told = sites.hq("channel", "sync")
    assert told["refused"] == []
    assert {"parcel_id": "", "event": "card", "text": "BR1 has a new card (serial 2), signed by the key before it"} in (
        told["news"]
    )
    assert sites.hq("channel", "status")["dead_letters"] == []
    assert {item["type"] for item in sites.hq("channel", "status")["unacknowledged"]} == {"site-report"}


def test_lost_keys_are_replaced_by_phone_and_parcels_of_before_are_imported(sites: Sites) -> None:
    """Notice and definitions were here before the loss; the media come after it."""
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    new = sites.hq("site", "rotate-key", "--lost")
    sites.hq("site", "card", "--out", sites.root / "new.card")
    sites.sync(sites.hq)
    assert "courier site trust CARD --fingerprint" in sites.br.says("channel", "sync")
    assert sites.br("site", "show", "HQ1")["serial"] == 1
    assert sites.br.fails("site", "trust", sites.root / "new.card", code=3)["code"] == "card-not-chained"
    wrong = new["fingerprint"][:-4] + "0000"
    error = sites.br.fails("site", "trust", sites.root / "new.card", "--fingerprint", wrong, code=3)
    assert error["code"] == "wrong-fingerprint"
    sites.br("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_notice_that_comes_after_the_loss_must_be_signed_anew(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.hq("channel", "sync")
    new = sites.hq("site", "rotate-key", "--lost")
    sites.hq("site", "card", "--out", sites.root / "new.card")
    sites.br("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    assert "was revoked" in " ".join(item["reason"] for item in sites.br("channel", "sync", code=None)["refused"])
    assert sites.br("parcel", "receive", *volumes)["state"] == "Held"
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_a_site_revoked_by_hand_is_trusted_again_by_fingerprint_alone(sites: Sites) -> None:
    sites.br("site", "revoke", "HQ1", "--reason", "phone call on Friday")
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    error = sites.br.ran("parcel", "receive", volumes[0], code=3).error
    assert error["code"] == "revoked-site"
    assert "phone call on Friday" in error["message"]
    assert sites.br.fails("site", "trust", sites.root / "HQ1.card", code=3)["code"] == "revoked-site"
    fingerprint = sites.hq("site", "card")["fingerprint"]
    said = sites.br.says("site", "trust", sites.root / "HQ1.card", "--fingerprint", fingerprint)
    assert "HQ1 is trusted again." in said
    assert "this card was already pinned when HQ1 was revoked" in said
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_pinning_a_card_says_what_it_is_and_what_is_wanted(sites: Sites) -> None:
    card = sites.root / "HQ1.card"
    assert "HQ1 is trusted already, by this very card." in sites.br.says("site", "trust", card)
    error = typed(sites.br, "site", "trust", card)
    assert "--fingerprint FINGERPRINT" in error
    assert "by phone" in error
    other = sites.root / "README.md"
    for data, code in ((b"# Notes", 4), (sites.root.joinpath("BR1.card").read_bytes()[:-9], 4)):
        other.write_bytes(data)
        assert str(other) in sites.br.fails("site", "trust", other, code=code)["message"]
    with other.open("r+b") as out:
        out.truncate(3 << 30)
    assert "too long for a site card" in sites.br.fails("site", "trust", other, code=3)["message"]
    sites.hq("site", "rotate-key")
    sites.hq("site", "card", "--out", card)
    assert "HQ1 is trusted, by its newer card." in sites.br.says("site", "trust", card)


def test_a_parcel_a_year_under_way_is_imported_unless_policy_says_otherwise(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    sites.br("site", "policy", "--max-transit-days", "90")
    set_clock(monkeypatch, 365)
    error = sites.br.ran("parcel", "receive", *volumes, code=3).error
    assert error["code"] == "too-long-in-transit"
    assert "365 days by this computer's clock" in error["message"]
    assert sites.br("package", "list")["packages"] == []
    assert sites.br("site", "policy", "--max-transit-days", "0")["max_transit_days"] == 0
    assert sites.br("parcel", "import", parcel)["state"] == "Imported"


def test_a_clock_that_is_wrong_is_said_and_nothing_is_lost_by_it(sites: Sites) -> None:
    """The receiver's clock is a year behind: media and messages wait, and are accepted once it is right."""
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.hq("channel", "sync")
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_clock(monkeypatch, -365)
        error = sites.br.ran("parcel", "receive", volumes[0], code=3).error
        assert error["code"] == "clock"
        assert "this computer's clock says" in error["message"]
        done = sites.br("channel", "sync", code=None)
        assert done["taken"] == 0
        assert sites.br("channel", "status")["dead_letters"] == []
    sites.br("channel", "sync")
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_since_when_keys_are_lost_must_be_possible(sites: Sites) -> None:
    for moment in ("2001-01-01T00:00", "2999-01-01T00:00"):
        error = sites.hq.fails("site", "rotate-key", "--lost", "--since", moment, code=2)
        assert f"{time.gmtime().tm_year}-" in error["hint"]
    sites.hq.fails("site", "rotate-key", "--lost", "--since", "Friday", code=2)
    sites.hq.fails("site", "rotate-key", "--since", "2026-01-01", code=2)
    assert sites.hq("site", "card")["serial"] == 1


def test_a_clock_before_the_key_neither_spoils_the_home_nor_sends_what_nobody_believes(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty clock battery: what was signed then was refused elsewhere; a new card made the home unusable."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    write(sites.hq, parcel, "folder", sites.root / "media")
    with monkeypatch.context() as wrong:
        set_clock(wrong, -400)
        before = sites.hq("site", "card")
        for command in (
            ("site", "rotate-key"),
            ("parcel", "create", package, "--to", "BR1", "--capacity", "900KB"),
            ("parcel", "ship", parcel),
        ):
            assert sites.hq.fails(*command, code=3)["code"] == "clock"
        assert sites.hq("site", "card") == before
        assert [path.name for path in (sites.hq.path / "parcels" / "out").glob("HQ1-*")] == [parcel]
    with monkeypatch.context() as late:
        set_clock(late, 6 * 365)
        assert sites.hq.fails("parcel", "ship", parcel, code=3)["code"] == "key-not-valid"
    sites.hq("site", "rotate-key")
    assert sites.hq("parcel", "ship", parcel)["state"] == "Sent"


def test_a_key_made_while_the_clock_was_ahead_is_replaced_by_phone(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No site takes a card from the future, so its next one is not chained: it is taken by its fingerprint."""
    with monkeypatch.context() as ahead:
        set_clock(ahead, 400)
        sites.hq("site", "rotate-key")
        package = add(sites.hq, FIXTURES / "boot.wim")
        sites.hq("channel", "sync")
    refused = sites.br("channel", "sync", code=None)["refused"]
    assert any("the card of HQ1: made" in item["reason"] for item in refused)
    assert sites.br("site", "show", "HQ1")["serial"] == 1
    for command in (("site", "rotate-key"), ("parcel", "create", package, "--to", "BR1", "--capacity", "900KB")):
        error = sites.hq.fails(*command, code=3)
        assert error["code"] == "clock"
        assert "rotate-key --lost" in error["hint"]
    assert "Is the clock right now?" in sites.hq.says("site", "rotate-key", "--lost")
    new = sites.hq("site", "card", "--out", sites.root / "new.card")
    sites.br("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    _, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert sites.hq("site", "rotate-key")["serial"] == 4
    sites.sync()
    assert sites.br("site", "show", "HQ1")["serial"] == 4


def test_a_site_made_while_the_clock_was_ahead_has_a_way_out_too(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as ahead:
        set_clock(ahead, 400)
        sites = make_sites(tmp_path)
    for home, other in ((sites.hq, sites.br), (sites.br, sites.hq)):
        new = home("site", "rotate-key", "--lost")
        home("site", "card", "--out", sites.root / "new.card")
        other("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_an_older_key_that_still_signed_while_the_clock_was_ahead_is_lost_with_it(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was valid for another year: whoever has it could have signed until then."""
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.hq("channel", "sync")
    with monkeypatch.context() as ahead:
        set_clock(ahead, 400)
        sites.hq("site", "rotate-key")
    new = sites.hq("site", "rotate-key", "--lost")
    sites.hq("site", "card", "--out", sites.root / "new.card")
    sites.br("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    assert "was revoked" in " ".join(item["reason"] for item in sites.br("channel", "sync", code=None)["refused"])
    assert sites.br("parcel", "receive", *volumes)["state"] == "Held"


def test_a_home_restored_from_before_a_rotation_is_led_out_by_the_hints(sites: Sites) -> None:
    """No chain of cards leads to the pinned one, for its key has ended; a fingerprint compared by phone replaces it."""
    shutil.copytree(sites.hq.path, sites.root / "backup")
    sites.hq("site", "rotate-key")
    sites.sync()
    shutil.rmtree(sites.hq.path)
    (sites.root / "backup").rename(sites.hq.path)
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    error = sites.br.ran("parcel", "receive", *volumes, code=3).error
    assert error["code"] == "key-not-valid"
    assert "restored its home" in error["hint"]
    assert "rotate-key there" in error["hint"]
    new = sites.hq("site", "rotate-key")
    sites.hq("site", "card", "--out", sites.root / "new.card")
    error = sites.br.fails("site", "trust", sites.root / "new.card", code=3)
    assert "--fingerprint" in error["hint"]
    sites.br("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    _, volumes = sent(sites.hq, "HQ100001:1", out=sites.root / "again")
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_second_rotation_before_the_first_was_acknowledged_is_asked_for(sites: Sites) -> None:
    """An operator presses Enter twice; each renewal uses up a place on the card."""
    sites.hq("site", "rotate-key")
    said = typed(sites.hq, "site", "rotate-key")
    assert "BR1 did not acknowledge card 2, made 20" in said
    assert "--yes" in said
    sites.sync(sites.hq, sites.br, sites.hq)
    assert run("site", "rotate-key", "--home", sites.hq.path).code == 0


@pytest.mark.parametrize("step", ["ArchiveBuilder.build", "make_parity"])
def test_a_key_renewed_while_a_parcel_is_built_does_not_spoil_it(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A build takes hours: signed by the key that it began with, it would be refused, but only at its destination."""
    whole = attrgetter(step)(courier.sending.build)

    def renewing(*arguments: object, **options: object) -> object:
        made = whole(*arguments, **options)
        other = open_site(sites.hq.path)
        if other.card.serial == 1:
            rotate_key(other)
        other.close()
        return made

    monkeypatch.setattr(f"courier.sending.build.{step}", renewing)
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    monkeypatch.undo()
    assert sites.hq("site", "card")["serial"] == 2
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    sites.hq("parcel", "custody", "verify", parcel)


def test_a_key_renewed_during_an_import_does_not_spoil_the_receipt(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", "--hold", *volumes)
    importing = open_site(sites.br.path)
    sites.br("site", "rotate-key")
    complete_parcel(importing, parcel, find_build(importing, parcel), release=True)
    importing.close()
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    assert sites.hq("channel", "status")["dead_letters"] == []


def test_two_rotations_at_one_time_follow_each_other(sites: Sites) -> None:
    """Otherwise the second, begun before the first is done, would make a card without the key of the first."""
    waiting = open_site(sites.hq.path)
    sites.hq("site", "rotate-key")
    assert rotate_key(waiting).card.serial == 3
    waiting.close()
    sites.sync()
    assert sites.br("site", "show", "HQ1")["serial"] == 3


def test_the_end_of_a_key_is_said_while_a_new_card_is_still_taken(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, 5 * 365 - 91)
    assert sites.br("channel", "sync")["key_warning"] == ""
    set_clock(monkeypatch, 5 * 365 - 89)
    for command in ("sync", "status"):
        assert "renew it before that" in sites.br.says("channel", command)
        assert "courier site rotate-key" in sites.br("channel", command)["key_warning"]
    sites.br("site", "rotate-key")
    sites.sync(sites.br, sites.hq)
    assert sites.hq("site", "show", "BR1")["serial"] == 2
    assert sites.br("channel", "sync")["key_warning"] == ""


def test_a_key_that_has_ended_is_said_and_its_successor_pinned_by_phone(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can sign no new card: without a warning, no site would believe this one from one day to the next."""
    set_clock(monkeypatch, 5 * 365 + 1)
    assert "pins the new card by its fingerprint" in sites.br.says("channel", "sync")
    assert "pin the new card by its fingerprint" in typed(sites.br, "site", "rotate-key")
    assert "courier site trust CARD --fingerprint" in sites.br.says("site", "rotate-key")
    new = sites.br("site", "card", "--out", sites.root / "new.card")
    assert sites.hq.fails("site", "trust", sites.root / "new.card", code=3)["code"] == "card-not-chained"
    sites.hq("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    assert sites.hq("site", "show", "BR1")["serial"] == 2


def test_a_card_is_written_over_nothing_but_a_card(sites: Sites) -> None:
    """A wrong name would otherwise overwrite an image, or a device for the superuser."""
    mine, image, pipe = sites.root / "HQ1.card", sites.root / "boot.wim", sites.root / "pipe"
    image.write_bytes(b"image")
    (sites.root / "empty").touch()
    os.mkfifo(pipe)
    sites.hq("site", "rotate-key")
    for path in (image, pipe):
        assert "name another file" in sites.hq.fails("site", "card", "--out", path, code=2)["hint"]
    assert image.read_bytes() == b"image"
    assert pipe.is_fifo()
    for nowhere in (".", "/", sites.root):
        sites.hq.fails("site", "card", "--out", nowhere, code=2)
    for path in (mine, sites.root / "empty", sites.root / "new"):
        sites.hq("site", "card", "--out", path)
        assert path.read_bytes() == (sites.hq.path / "card.json").read_bytes()


def test_half_a_fingerprint_is_no_alarm(sites: Sites) -> None:
    fingerprint = sites.hq("site", "card")["fingerprint"]
    for part in ("", fingerprint[:19], fingerprint + " 1"):
        error = sites.br.fails("site", "trust", sites.root / "HQ1.card", "--fingerprint", part, code=2)
        assert "sixteen groups of four" in error["message"]
    sites.br("site", "trust", sites.root / "HQ1.card", "--fingerprint", fingerprint.upper().replace(" ", "-"))


def test_a_receipt_under_way_when_the_key_was_lost_is_signed_anew(sites: Sites) -> None:
    """The old receipt is refused and no command makes a new one: the parcel would never be confirmed."""
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    new = sites.br("site", "rotate-key", "--lost")
    sites.br("site", "card", "--out", sites.root / "new.card")
    sites.hq("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_a_receipt_by_a_key_that_had_ended_is_signed_anew(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    set_clock(monkeypatch, 5 * 365 + 1)
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    sites.br("channel", "sync")
    assert any("receipt" in item["reason"] for item in sites.hq("channel", "sync")["refused"])
    new = sites.br("site", "rotate-key")
    sites.br("site", "card", "--out", sites.root / "new.card")
    sites.hq("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_a_receipt_that_the_old_key_signed_in_its_time_goes_as_it_is(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.br("site", "rotate-key")
    site = open_site(sites.br.path)
    assert sign_receipts_anew(site) == 0
    site.close()
