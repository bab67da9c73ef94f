"""Keys over time, typed as an operator types it: renewed, lost, a year under way, clocks that are wrong."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from journey import FIXTURES, Sites, add, create, make_sites, sent, write

DAY = 24 * 3600 * 10**9


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def set_clock(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """From now on this computer's clock is ``days`` ahead."""
    real = time.time_ns

    def moved() -> int:
        return real() + days * DAY

    monkeypatch.setattr("courier.site.time", SimpleNamespace(time_ns=moved))


def test_a_parcel_under_way_while_the_keys_were_renewed_is_imported(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    assert sites.hq("site", "rotate-key")["queued_to"] == ["BR1"]
    sites.br("site", "rotate-key")
    sites.sync()
    assert sites.br("site", "show", "HQ1")["serial"] == 2
    assert sites.br("parcel", "receive", *volumes)["imported"][0]["package_id"] == "HQ100001"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_a_rotation_that_ended_before_its_card_was_queued_is_told_to_the_others_all_the_same(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("courier.rotation.announce_card", ended)
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


def test_lost_keys_are_replaced_by_phone_and_parcels_of_before_are_imported(sites: Sites) -> None:
    """Notice and definitions were here before the loss; the media come after it."""
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    new = sites.hq("site", "rotate-key", "--lost")
    sites.hq("site", "card", "--out", sites.root / "new.card")
    sites.sync()
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
    sites.br("site", "trust", sites.root / "HQ1.card", "--fingerprint", fingerprint)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


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
    """The receiver's clock stands a year back: media and messages wait, and are taken when it is right."""
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
    for moment in ("2001-01-01T00:00", "2999-01-01T00:00", "Friday"):
        sites.hq.fails("site", "rotate-key", "--lost", "--since", moment, code=2)
    sites.hq.fails("site", "rotate-key", "--since", "2026-01-01", code=2)
    assert sites.hq("site", "card")["serial"] == 1


def test_a_clock_before_the_key_neither_spoils_the_home_nor_sends_what_nobody_believes(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead clock battery: what was signed with it was refused at the destination; a new card closed the home."""
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
