"""Keys that travel by network, their release on arrival, recalls: typed as operators type them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, run, write

from courier.channel.handlers import take_message
from courier.cli.messages import MESSAGE_HANDLERS
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.parcel_key import encrypt_parcel_key
from courier.sending.recall import recall_parcel
from courier.site.catalog import messages
from courier.site.home import open_site
from courier.site.message_encryption import decrypt_message
from formats.age import Identity
from formats.documents.card import SiteCard


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def built(sites: Sites, *options: str) -> tuple[str, list[Path]]:
    package = add(sites.hq, FIXTURES / "boot.wim")
    document = sites.hq("parcel", "create", package, "--to", "BR1", "--capacity", "863KB", "--key-by-network", *options)
    parcel = str(document["parcel_id"])
    return parcel, write(sites.hq, parcel, "folder", sites.root / "media")


def identity_of(home: Home, parcel: str) -> Identity:
    return Identity.from_text((home.path / "parcels" / "out" / parcel / "parcel.key").read_text().strip())


def test_a_key_by_network_is_on_no_medium_and_comes_with_the_notice(sites: Sites) -> None:
    parcel, volumes = built(sites)
    own = Identity.from_text((sites.br.path / "keys" / "recipient.key").read_text().strip())
    key = identity_of(sites.hq, parcel)
    encrypted = next(volumes[0].rglob("*.7z.age")).read_bytes()
    from io import BytesIO

    from formats.age import open_encrypted
    from formats.errors import NotForUsError

    with pytest.raises(NotForUsError):
        open_encrypted(BytesIO(encrypted), [own])
    assert open_encrypted(BytesIO(encrypted), [key]).read(6) == b"7z\xbc\xaf\x27\x1c"
    sites.hq("parcel", "ship", parcel)
    held = sites.br("parcel", "receive", *volumes)
    assert held["state"] == "Held"
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    for path in sites.root.rglob("*"):
        if path.is_file() and path.name != "parcel.key":
            assert key.to_text().encode() not in path.read_bytes()


def test_every_parcel_has_a_key_of_its_own(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcels = []
    for _ in range(2):
        command = ("parcel", "create", package, "--to", "BR1", "--capacity", "5MB", "--key-by-network")
        parcels.append(str(sites.hq(*command)["parcel_id"]))
    assert identity_of(sites.hq, parcels[0]).to_text() != identity_of(sites.hq, parcels[1]).to_text()


def shipped_with_seals(sites: Sites) -> tuple[str, list[Path]]:
    parcel, volumes = built(sites, "--release", "on-arrival")
    sites.hq("parcel", "ship", parcel, "--seal", "1=A0001", "--seal", "2=A0002")
    sites.sync()
    return parcel, volumes


def refusals(done: dict[str, Any]) -> str:
    return " ".join(item["reason"] for item in done["refused"])


def back_and_forth(sites: Sites) -> dict[str, Any]:
    sites.br("channel", "sync")
    done = sites.hq("channel", "sync", code=None)
    sites.br("channel", "sync")
    return done


def test_the_key_is_released_for_the_right_volumes_and_seals_alone(sites: Sites) -> None:
    parcel, volumes = shipped_with_seals(sites)
    assert sites.br("parcel", "receive", *volumes[1:], code=None)["state"] == "Arriving"
    assert sites.br.fails("parcel", "arrived", parcel, "--seal", "2=A0002", code=3)["code"] == "volumes-missing"
    held = sites.br("parcel", "receive", volumes[0])
    assert held["state"] == "Held"
    assert "courier parcel arrived" in held["awaiting"][0]
    for seals in ((), ("--seal", "1=A0001"), ("--seal", "1=A0001", "--seal", "2=B0002"),
                  ("--seal", "1=A0002", "--seal", "2=A0001")):  # fmt: skip
        sites.br("parcel", "arrived", parcel, *seals)
        assert "no key was released" in refusals(back_and_forth(sites))
        assert sites.br("parcel", "show", parcel)["state"] == "Held"
    sites.br("parcel", "arrived", parcel, "--seal", "1=A0001", "--seal", "2=A0002")
    assert refusals(back_and_forth(sites)) == ""
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert "key-released" in {entry["event"] for entry in sites.hq("parcel", "log", parcel)["log"]}


def test_who_received_two_editions_reports_the_newer_and_gets_the_key(sites: Sites) -> None:
    parcel, first = built(sites, "--release", "on-arrival")
    sites.hq("parcel", "ship", parcel, "--seal", "1=A0001")
    sites.sync()
    sites.br("parcel", "receive", *first)
    anew = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "second", "--capacity", "5MB")
    assert "receivers take them as well" in sites.hq.says(*anew)
    sites.hq("parcel", "ship", parcel, "--seal", "1=B0001")
    sites.sync()
    second = [Path(volume["path"]) for volume in sites.hq("parcel", "show", parcel)["volumes"]]
    sites.br("parcel", "receive", *second)
    # Both are here whole: the seals are those of the one that was announced last.
    sites.br("parcel", "arrived", parcel, "--seal", "1=A0001")
    assert "left with seal B0001, and A0001 was read" in refusals(back_and_forth(sites))
    sites.br("parcel", "arrived", parcel, "--seal", "1=B0001")
    assert refusals(back_and_forth(sites)) == ""
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_a_parcel_without_seals_is_reported_by_itself(sites: Sites) -> None:
    parcel, volumes = built(sites, "--release", "on-arrival")
    (warned,) = sites.hq("parcel", "ship", parcel)["warnings"]
    assert "no seal is named for volumes 1 to 4: " in warned
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Held"
    back_and_forth(sites)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert "which reported all volumes (no seals were named)" in sites.hq.says("parcel", "log", parcel)


def test_seals_that_are_lacking_where_the_key_awaits_them_are_warned_of(sites: Sites) -> None:
    parcel, volumes = built(sites, "--release", "on-arrival")
    assert "no seal is named for volumes 1 to 4: " in sites.hq.says("parcel", "ship", parcel, "--dry-run")
    assert "no seal is named for volumes 2 to 4: " in sites.hq.says("parcel", "ship", parcel, "--seal", "1=A0001")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.br("parcel", "arrived", parcel, "--seal", "1=A0001")
    back_and_forth(sites)
    assert "which reported all volumes, and the seals of 1 alone" in sites.hq.says("parcel", "log", parcel)
    more = [text for number in (2, 3, 4) for text in ("--seal", f"{number}=A000{number}")]
    assert sites.hq("parcel", "ship", parcel, *more)["warnings"] == []


def test_the_key_of_a_recalled_parcel_is_never_released(sites: Sites) -> None:
    parcel, volumes = shipped_with_seals(sites)
    sites.br("parcel", "receive", *volumes)
    sites.br("parcel", "arrived", parcel, "--seal", "1=A0001", "--seal", "2=A0002")
    sites.hq("parcel", "recall", parcel, "--reason", "lost by the carrier")
    assert "recalled" in refusals(back_and_forth(sites))
    assert not (sites.hq.path / "parcels" / "out" / parcel / "parcel.key").exists()
    assert sites.br.fails("parcel", "import", parcel, code=3)["code"] == "recalled"


@pytest.mark.parametrize("end", ["recall", "fail"])
@pytest.mark.parametrize("release", [(), ("--release", "on-arrival")], ids=["with the notice", "on arrival"])
def test_a_key_that_is_queued_goes_no_more_once_the_parcel_is_recalled_or_lost(
    sites: Sites, release: tuple[str, ...], end: str
) -> None:
    parcel, volumes = built(sites, *release)
    sites.hq("parcel", "ship", parcel)
    if release:
        sites.sync()
        sites.br("parcel", "receive", *volumes)
        sites.br("channel", "sync")
        take_in(sites.hq)
    kind = "key-release" if release else "ship-notice"
    assert kind in waiting(sites.hq)
    sites.hq("parcel", end, parcel, "--reason", "stolen")
    assert kind not in waiting(sites.hq)
    sites.sync()
    sites.br("parcel", "receive", *volumes, code=None)
    assert sites.br("parcel", "show", parcel)["state"] != "Imported"
    if end == "fail":
        sites.hq("parcel", "ship", parcel)
        sites.sync()
        if release:
            sites.br("parcel", "arrived", parcel)
        sites.sync(sites.br, sites.hq, sites.br)
        assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def take_in(home: Home) -> None:
    """Act on what lies in the share, and hand nothing over: as where the line breaks half-way."""
    for name in list((home.path.parent / "share" / home.code).iterdir()):
        site = open_site(home.path)
        take_message(site, decrypt_message(name.read_bytes(), site.keyring.identities()), MESSAGE_HANDLERS)
        site.close()


def waiting(home: Home) -> set[str]:
    """Kinds of the messages that are on their way from a site."""
    site = open_site(home.path)
    with site.catalogue.reading() as connection:
        found = {one.type.split(".")[-1].split("+")[0] for one in messages.live(connection, "BR1")}
    site.close()
    return found


@pytest.mark.parametrize("step", ["ship", "arrived"])
def test_a_recall_while_the_key_is_made_ready_keeps_it_here(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    parcel, volumes = built(sites, *(() if step == "ship" else ("--release", "on-arrival")))
    if step == "arrived":
        sites.hq("parcel", "ship", parcel)
        sites.sync()
        sites.br("parcel", "receive", *volumes)
        sites.br("channel", "sync")
    place = "courier.sending.ship" if step == "ship" else "courier.sending.release"

    def recalled_meanwhile(outgoing: OutgoingParcel, cards: Iterable[SiteCard]) -> bytes:
        key = encrypt_parcel_key(outgoing, cards)
        site = open_site(sites.hq.path)
        recall_parcel(site, outgoing, "stolen")
        site.close()
        return key

    monkeypatch.setattr(f"{place}.encrypt_parcel_key", recalled_meanwhile)
    if step == "ship":
        assert sites.hq.fails("parcel", "ship", parcel, code=3)["code"] == "wrong-state"
    else:
        assert "was recalled; no key was released" in refusals(sites.hq("channel", "sync"))
    assert waiting(sites.hq) & {"ship-notice", "key-release"} <= ({"ship-notice"} if step == "arrived" else set())
    sites.sync()
    sites.br("parcel", "receive", *volumes, code=None)
    assert sites.br("parcel", "show", parcel)["state"] == "Refused"


def test_a_site_that_lost_its_keys_after_the_release_reports_again_and_gets_the_key_anew(sites: Sites) -> None:
    parcel, volumes = shipped_with_seals(sites)
    sites.br("parcel", "receive", *volumes)
    seals = ("--seal", "1=A0001", "--seal", "2=A0002")
    sites.br("parcel", "arrived", parcel, *seals)
    sites.sync(sites.br, sites.hq)
    shutil.rmtree(sites.br.path / "keys")
    new = sites.br("site", "rotate-key", "--lost")
    sites.br("site", "card", "--out", sites.root / "new.card")
    sites.hq("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    sites.sync(sites.hq, sites.br)
    assert sites.br("parcel", "show", parcel)["state"] == "Held"
    sites.br("parcel", "arrived", parcel, *seals)
    back_and_forth(sites)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_a_site_that_lost_its_keys_after_the_notice_is_told_how_it_gets_the_parcels_key_anew(sites: Sites) -> None:
    parcel, volumes = built(sites)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    shutil.rmtree(sites.br.path / "keys")
    new = sites.br("site", "rotate-key", "--lost")
    error = sites.br.ran("parcel", "receive", *volumes, code=3).error
    assert error["hint"] == "once HQ1 has this site's present card, courier parcel ship there"
    sites.br("site", "card", "--out", sites.root / "new.card")
    sites.hq("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    sites.hq("parcel", "ship", parcel)
    sites.sync(sites.hq, sites.br)
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_recalled_parcel_is_not_imported_and_its_media_are_not_taken(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.br("parcel", "receive", *volumes)
    sites.hq("parcel", "recall", parcel, "--reason", "wrong image")
    sites.sync()
    assert sites.br("package", "list")["packages"] == []
    assert sites.br("parcel", "show", parcel)["state"] == "Refused"
    for command in (("parcel", "import", parcel), ("parcel", "receive", volumes[0])):
        error = sites.br.fails(*command, code=3) if command[1] == "import" else sites.br.ran(*command, code=3).error
        assert error["code"] == "recalled"
        assert "wrong image" in error["message"]
    assert sites.hq.fails("parcel", "ship", parcel, code=3)["code"] == "wrong-state"


def test_a_recall_that_comes_with_its_notice_leaves_a_parcel_that_commands_know(sites: Sites) -> None:
    """Whichever was first: what the hints name can be done."""
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.hq("parcel", "recall", parcel)
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Refused"
    error = sites.br.ran("parcel", "receive", volumes[0], code=3).error
    assert (error["code"], f"courier parcel discard {parcel}" in error["hint"]) == ("recalled", True)
    assert sites.br.fails("parcel", "accept", parcel, code=3)["code"] == "recalled"
    sites.br("parcel", "discard", parcel)


def test_a_recalled_parcel_that_was_never_written_is_refused_before_anything_is_planned(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    sites.hq("parcel", "recall", parcel)
    said = sites.hq.says("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "media", code=3)
    assert "was recalled" in said
    assert "VOLUME" not in said
    error = sites.hq.fails("parcel", "ship", parcel, code=3)
    assert (error["code"], error["hint"]) == ("wrong-state", "create a new parcel")


def test_a_recall_after_the_import_undoes_nothing_and_says_so(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.hq("parcel", "recall", parcel)
    sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert "imported before" in sites.br("parcel", "log", parcel)["log"][-1]["text"]


def test_options_that_contradict_each_other_are_refused(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    begin = ("parcel", "create", package, "--to", "BR1", "--capacity", "5MB")
    for more in (("--release", "on-arrival"), ("--key-by-network", "--release", "later"),
                 ("--key-by-network", "--no-encrypt")):  # fmt: skip
        sites.hq.fails(*begin, *more, code=2)


def test_the_restore_page_says_where_the_key_is(sites: Sites) -> None:
    _, volumes = built(sites)
    assert "none of the media" in (volumes[0] / "RESTORE.txt").read_text()
    shutil.rmtree(volumes[0])


def test_both_sites_are_told_of_a_wrong_seal_and_what_to_do(sites: Sites) -> None:
    parcel, volumes = shipped_with_seals(sites)
    sites.br("parcel", "receive", *volumes)
    sites.br("parcel", "arrived", parcel, "--seal", "1=A0001", "--seal", "2=WRONG")
    assert "follows by itself" in sites.br.ran("parcel", "import", parcel, code=3).error["hint"]
    sites.br("channel", "sync")
    told = sites.hq.says("channel", "sync")
    assert f"{parcel}: arrival: reported by BR1: volume 2 left with seal A0002, and WRONG was read" in told
    assert f"courier parcel recall {parcel}" in told
    told = sites.br.says("channel", "sync")
    assert f"{parcel}: refused-there: our arrival, by HQ1" in told
    (awaited,) = sites.br("parcel", "show", parcel)["awaiting"]
    assert "WRONG was read" in awaited
    assert f"courier parcel arrived {parcel} --seal 1=SERIAL" in awaited
    hint = sites.br.ran("parcel", "import", parcel, code=3).error["hint"]
    assert f"report the arrival: courier parcel arrived {parcel} --seal 1=SERIAL" in hint
    assert "by itself" not in hint
    sites.br("parcel", "arrived", parcel, "--seal", "1=A0001", "--seal", "2=A0002")
    assert "WRONG" not in sites.br("parcel", "show", parcel)["awaiting"][0]
    sites.sync(sites.br, sites.hq)
    assert f"{parcel}: imported" in sites.br.says("channel", "sync")


def test_seals_that_are_not_those_of_the_notice_are_said_where_they_are_typed(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel, volumes = shipped_with_seals(sites)
    sites.br("parcel", "receive", *volumes)
    arrived = ("parcel", "arrived", parcel, "--seal", "2=WRONG", "--seal", "3=C")
    told = (
        "volume 1: no seal was typed, and the ship notice names A0001",
        "volume 2: seal WRONG was typed, and the ship notice names A0002",
        "volume 3: seal C was typed, and the ship notice names none",
    )
    # Neither a script nor a person who says no has reported them.
    before = sites.br.state()
    error = run(*arrived, "--home", sites.br.path, "--json", code=3).error
    assert error["code"] == "not-confirmed"
    assert all(text in error["hint"] for text in told)
    monkeypatch.setattr("courier.cli.console._is_terminal", lambda _: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    ran = run(*arrived, "--home", sites.br.path, code=3)
    assert ran.err.splitlines()[:3] == list(told)
    assert sites.br.state() == before
    # A seal that really is another one has to be reported.
    assert sites.br(*arrived)["warnings"] == list(told)
    assert "volume 1 left with seal A0001, and none was read" in refusals(back_and_forth(sites))
    right = ("parcel", "arrived", parcel, "--seal", "1=A0001", "--seal", "2=A0002")
    assert run(*right, "--home", sites.br.path, "--json").document["warnings"] == []


def test_seals_are_reported_without_a_word_where_no_notice_has_come(sites: Sites) -> None:
    parcel, volumes = built(sites, "--release", "on-arrival")
    sites.hq("parcel", "ship", parcel, "--seal", "1=A0001")
    sites.br("parcel", "receive", *volumes)
    assert sites.br("parcel", "arrived", parcel, "--seal", "1=X")["warnings"] == []


def test_a_seal_that_customs_put_on_counts_once_the_sender_has_shipped_with_it(sites: Sites) -> None:
    parcel, volumes = shipped_with_seals(sites)
    sites.br("parcel", "receive", *volumes)
    sites.br("parcel", "custody", "add", parcel, "--event", "sealed", "--seal", "1=C77", "--operator", "customs")
    sites.sync(sites.br, sites.hq)
    assert "re-sealed by BR1 (customs)" in sites.hq.says("parcel", "show", parcel)
    sites.hq("parcel", "ship", parcel, "--seal", "1=C77")
    sites.sync(sites.hq, sites.br)
    done = sites.br("parcel", "arrived", parcel, "--seal", "1=C77", "--seal", "2=A0002")
    assert done["warnings"] == []
    back_and_forth(sites)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_a_destination_is_told_of_a_recall(sites: Sites) -> None:
    parcel, volumes = built(sites)
    sites.hq("parcel", "ship", parcel)
    sites.br("parcel", "receive", *volumes)
    sites.hq("parcel", "recall", parcel, "--reason", "wrong image")
    sites.hq("channel", "sync")
    assert f"{parcel}: recalled: by HQ1: wrong image" in sites.br.says("channel", "sync")
    shown = sites.br.says("parcel", "show", parcel)
    assert "held, awaiting" not in shown
    assert f"courier parcel discard {parcel}" in shown
