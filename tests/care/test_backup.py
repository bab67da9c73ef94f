"""A home lost in the middle of a journey, and restored: the journey ends Confirmed, and no number comes twice."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from journey import FIXTURES, Home, Sites, add, create, digests_of, make_sites, run, sent
from stock import stock_tool

from courier.care.after_restore import GAP
from courier.care.backup import SHORTEST, Protection, back_up
from courier.care.backup_parts import files_of_work
from courier.care.restore import Opening, restore
from courier.errors import DamagedError, RefusedError
from courier.site.catalog import parcels
from courier.site.catalog.database import sqlite_url
from courier.site.catalog.snapshot import copy_tables, fill
from courier.site.home import open_site
from formats.age import EncryptingWriter, Identity, open_encrypted

IDENTITY = Identity.generate()


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def backed_up(home: Home) -> Path:
    out = home.path.with_suffix(".backup")
    home("backup", "--out", out, "--recipient", IDENTITY.recipient)
    return out


def lose_and_restore(home: Home, backup: Path) -> dict[str, object]:
    """The disk with the home is gone; what was backed up comes back, in its place."""
    key = home.path.with_suffix(".key")
    key.write_text(f"# made for this test\n{IDENTITY.to_text()}\n")
    shutil.rmtree(home.path)
    return home("restore", backup, "--identity", key)


def confirmed(sites: Sites, parcel: str) -> None:
    for _ in range(2):
        sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_the_sender_loses_its_home_while_media_are_under_way(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "m", encrypt=True)
    backup = backed_up(sites.hq)
    sites.hq("channel", "sync")
    lost = add(sites.hq, FIXTURES / "boot.wim", name="Made after the backup")
    other = create(sites.hq, lost)
    sites.br("parcel", "receive", *volumes)
    sites.br("channel", "sync")
    restored = lose_and_restore(sites.hq, backup)
    assert restored["ship_again"] == [parcel]
    assert restored["versions_without_content"] == 1
    confirmed(sites, parcel)
    # Nothing that the lost home gave out is given out again.
    again = add(sites.hq, FIXTURES / "boot.wim", name="Another")
    assert int(again[3:8], 16) == int(package[3:8], 16) + GAP + 1
    assert int(create(sites.hq, again)[4:]) == int(parcel[4:]) + GAP + 1 > int(other[4:])
    newer = sites.hq("package", "add", FIXTURES / "boot.wim", "--id", package[:8], "--name", "Newer")
    assert newer["version"] == 1 + GAP + 1
    assert sites.hq("parcel", "custody", "verify", parcel)
    assert sites.br("parcel", "custody", "verify", parcel)


def test_the_sender_loses_what_it_knew_of_the_receipt_too(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "m")
    backup = backed_up(sites.hq)
    sites.hq("channel", "sync")
    sites.br("parcel", "receive", *volumes)
    confirmed(sites, parcel)
    lose_and_restore(sites.hq, backup)
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] != "Confirmed"
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    confirmed(sites, parcel)


def test_the_receiver_loses_its_home_when_half_of_the_media_were_read(sites: Sites) -> None:
    parcel, (first, *others) = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "m", encrypt=True)
    sites.sync()
    sites.br("parcel", "receive", first, code=None)
    backup = backed_up(sites.br)
    sites.br("parcel", "receive", *others)
    sites.sync(sites.br)
    restored = lose_and_restore(sites.br, backup)
    assert restored["receive_again"] == [parcel]
    sites.br("parcel", "receive", first, *others)
    confirmed(sites, parcel)


def test_the_receiver_loses_what_it_knew_of_the_parcel_at_all(sites: Sites) -> None:
    backup = backed_up(sites.br)
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "m")
    sites.sync(sites.hq, sites.br, sites.hq)
    lose_and_restore(sites.br, backup)
    sites.br("parcel", "receive", *volumes, code=None)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    confirmed(sites, parcel)


def test_a_backup_is_read_by_stock_age_and_tar_and_holds_no_content(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), encrypt=True, redundancy="5%")
    out = backed_up(sites.hq)
    key = sites.root / "key"
    key.write_text(IDENTITY.to_text())
    plain = subprocess.run([stock_tool("age"), "-d", "-i", key, out], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        names = set(tar.getnames())
    assert {"backup.json", "site.json", "card.json", "catalogue.sqlite", "keys/recipient.key"} <= names
    assert f"parcels/out/{parcel}/encryption.seed" in names
    assert not [name for name in names if "content/" in name or "parity" in name or name.endswith("lock")]
    assert out.stat().st_mode & 0o077 == 0
    assert [path.name for path in (sites.hq.path / "backup").iterdir()] == ["lock"]
    assert sites.hq.fails("backup", "--out", out, "--recipient", IDENTITY.recipient, code=3)["code"] == "target-exists"
    assert sites.hq.fails("backup", "--out", sites.root / "b", "--recipient", "age1", code=2)["code"] == "usage"


def test_a_passphrase_opens_a_backup_and_another_one_does_not(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    out, home = sites.root / "b.age", Home(code="HQ1", path=sites.root / "again")
    monkeypatch.setenv("COURIER_BACKUP_PASSPHRASE", "a long one of words")
    sites.hq("backup", "--out", out)
    found = run("restore", out, "--dry-run", "--json").document
    assert (found["site"], found["dry_run"]) == ("HQ1", True)
    monkeypatch.setenv("COURIER_BACKUP_PASSPHRASE", "a wrong one")
    error = home.fails("restore", out, code=3)
    assert (error["code"], "give the passphrase" in error["hint"]) == ("not-for-us", True)
    monkeypatch.setenv("COURIER_BACKUP_PASSPHRASE", "a long one of words")
    assert home("restore", out)["site"] == "HQ1"
    assert home("site", "list") == sites.hq("site", "list")
    kept = {name: digest for name, digest in digests_of(sites.hq.path / "keys").items() if name != "lock"}
    assert kept.items() <= digests_of(home.path / "keys").items()
    assert home.fails("restore", out, code=2)["message"].startswith(f"{home.path} is not empty")


def test_a_short_passphrase_is_refused_and_nothing_is_written(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    out = sites.root / "b.age"
    monkeypatch.setenv("COURIER_BACKUP_PASSPHRASE", "x" * (SHORTEST - 1))
    error = sites.hq.fails("backup", "--out", out, code=2)
    assert f"{SHORTEST - 1} characters is too short" in error["message"]
    assert f"{SHORTEST} characters or more" in error["hint"]
    assert not out.exists()
    monkeypatch.setenv("COURIER_BACKUP_PASSPHRASE", "x" * SHORTEST)
    sites.hq("backup", "--out", out)


@pytest.mark.parametrize("exists", [False, True])
def test_a_restore_that_fails_leaves_the_folder_as_it_was(sites: Sites, tmp_path: Path, exists: bool) -> None:
    out, home = backed_up(sites.hq), tmp_path / "again"
    if exists:
        home.mkdir()
    data = out.read_bytes()
    for wrong in (b"something else", data[:-1], data[:-200] + bytes([data[-200] ^ 1]) + data[-199:]):
        out.write_bytes(wrong)
        with pytest.raises((DamagedError, RefusedError)):
            restore(out, home, Opening(identities=[IDENTITY]), gap=1)
        assert [item.name for item in home.iterdir()] == ["locks"] if exists else not home.exists()
    out.write_bytes(data)
    with pytest.raises(RefusedError):
        restore(out, home, Opening(identities=[Identity.generate()]), gap=1)
    assert exists == home.exists()
    assert restore(out, home, Opening(identities=[IDENTITY]), gap=1).site == "HQ1"


def test_status_does_not_count_what_a_restored_home_has_lost(sites: Sites) -> None:
    add(sites.hq, FIXTURES / "boot.wim", name="Boot")
    size = sites.hq("status")["packages"]["bytes"]
    assert size
    lose_and_restore(sites.hq, backed_up(sites.hq))
    found = sites.hq("status")
    assert found["packages"] == {"versions": 1, "bytes": 0, "without_content": 1}
    assert [one["next"] for one in found["waiting"] if one["cause"] == "content"] == ["courier package verify"]
    assert "(1 without content)" in sites.hq.says("status")
    add(sites.hq, FIXTURES / "boot.wim", name="Boot again")
    found = sites.hq("status")
    assert found["packages"] == {"versions": 2, "bytes": 2 * size, "without_content": 0}
    assert not [one for one in found["waiting"] if one["cause"] == "content"]


def test_a_backup_that_was_cut_or_altered_restores_nothing(sites: Sites) -> None:
    out = backed_up(sites.hq)
    data = out.read_bytes()
    home = sites.root / "again"
    opening = Opening(identities=[IDENTITY])
    for wrong in (data[:-1], data[:5000], data[:-200] + bytes([data[-200] ^ 1]) + data[-199:], b"something else"):
        out.write_bytes(wrong)
        with pytest.raises((DamagedError, RefusedError)):
            restore(out, home, opening, gap=1)
        assert not (home / "site.json").exists()
    out.write_bytes(data)
    assert restore(out, home, opening, gap=1).site == "HQ1"


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "parcels/in/x", "keys/../../x", "keys/lock", "site.json"]
)
def test_a_file_that_belongs_into_no_home_is_refused(sites: Sites, name: str) -> None:
    out = sites.root / "b"
    good = backed_up(sites.hq)
    with good.open("rb") as source:
        plain = open_encrypted(source, [IDENTITY]).read()
    with (
        out.open("wb") as target,
        EncryptingWriter(target, [IDENTITY.recipient]) as writer,
        tarfile.open(fileobj=io.BytesIO(plain)) as old,
        tarfile.open(fileobj=writer, mode="w|") as new,
    ):
        for member in old:
            new.addfile(member, old.extractfile(member))
        new.addfile(tarfile.TarInfo(name))
    with pytest.raises(RefusedError, match="which no backup of a site has"):
        restore(out, sites.root / "again", Opening(identities=[IDENTITY]), gap=1)
    assert not (sites.root / "outside").exists()


def test_a_small_backup_does_not_grow_without_end_on_the_disk(sites: Sites) -> None:
    out = backed_up(sites.hq)
    key = sites.root / "key"
    key.write_text(IDENTITY.to_text())
    plain = subprocess.run([stock_tool("age"), "-d", "-i", key, out], capture_output=True, check=True).stdout
    sparse = tarfile.TarInfo("parcels/out/HQ1-000009/sparse")
    sparse.size = 512
    head = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    head[156:157] = tarfile.GNUTYPE_SPARSE
    head[386:495] = b"%011o\0%011o\0" % (0, 512) + bytes(73) + b"%011o\0" % 2**30  # one piece, of 1 GiB in all
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * ord(" ") + sum(head[156:]))
    with (
        out.open("wb") as target,
        EncryptingWriter(target, [IDENTITY.recipient]) as writer,
        tarfile.open(fileobj=io.BytesIO(plain)) as old,
        tarfile.open(fileobj=writer, mode="w|") as new,
    ):
        for member in old:
            new.addfile(member, old.extractfile(member))
        new.fileobj.write(bytes(head) + bytes(512))
    with pytest.raises(RefusedError, match="which no backup of a site has"):
        restore(out, sites.root / "again", Opening(identities=[IDENTITY]), gap=1)


def test_a_parcel_whose_build_was_not_finished_is_forgotten_with_its_seed(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), encrypt=True)
    with closing(open_site(sites.hq.path)) as site, site.catalogue.writing() as connection:
        parcels.change_sent(connection, parcel, state="Planned")
    backup = backed_up(sites.hq)
    assert lose_and_restore(sites.hq, backup)["forgotten"] == [parcel]
    assert not (sites.hq.path / "parcels" / "out" / parcel).exists()


def test_a_layout_and_a_card_that_come_after_a_restore_have_new_numbers(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "m")
    lose_and_restore(sites.hq, backed_up(sites.hq))
    assert sites.hq("site", "rotate-key")["serial"] == 1 + GAP + 1
    add(sites.hq, FIXTURES / "boot.wim", name="Brings the content back")
    sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "n", "--capacity", "2MB")
    assert (sites.hq.path / "parcels" / "out" / parcel / f"packing-list-{1 + GAP + 1}.json").exists()


def test_a_restore_that_was_killed_is_begun_anew(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    backup, home = backed_up(sites.hq), sites.root / "again"
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "site.json" and target.parent == home:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", killed)
        restore(backup, home, Opening(identities=[IDENTITY]), gap=1)
    assert (home / "catalogue.sqlite").exists()
    assert restore(backup, home, Opening(identities=[IDENTITY]), gap=1).site == "HQ1"
    with closing(open_site(home)) as site:
        assert site.settings.present_book != "main"


def test_a_parcel_that_is_laid_out_anew_meanwhile_makes_the_backup_begin_again(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    laid_out: list[str] = []

    def meanwhile(home: Path) -> list[Path]:
        if not laid_out:
            laid_out.append(parcel)
            write = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "m", "--capacity", "2MB")
            sites.hq(*write)
        return list(files_of_work(home))

    monkeypatch.setattr("courier.care.backup.files_of_work", meanwhile)
    with closing(open_site(sites.hq.path)) as site:
        back_up(site, sites.root / "b", Protection(recipients=[IDENTITY.recipient]))
    monkeypatch.undo()
    found = restore(sites.root / "b", sites.root / "again", Opening(identities=[IDENTITY]), gap=1)
    assert found.ship_again == (parcel,)
    assert (sites.root / "again" / "parcels" / "out" / parcel / "packing-list-2.json").exists()


def test_a_catalogue_goes_into_another_database_whole_and_only_into_an_empty_one(sites: Sites) -> None:
    create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    copy, target = sites.root / "copy", sites.root / "target.sqlite"
    with closing(open_site(sites.hq.path)) as site:
        # As it is done for a catalogue on a server, which this one stands for.
        copy_tables(site.catalogue, copy)
    fill(sqlite_url(target), copy)
    rows = dict(sites.hq.state())["catalogue"]
    moved = Home(code="HQ1", path=sites.root / "moved")
    (moved.path / "store").mkdir(parents=True)
    target.rename(moved.path / "catalogue.sqlite")
    assert moved.state()["catalogue"] == rows
    with pytest.raises(RefusedError, match="not empty: there are rows in"):
        fill(sqlite_url(moved.path / "catalogue.sqlite"), copy)


def test_a_file_that_holds_no_identity_is_named(sites: Sites) -> None:
    backup = backed_up(sites.hq)
    wrong = sites.root / "wrong.key"
    for text in ("AGE-SECRET-KEY-1NONE\n", "# nothing\n"):
        wrong.write_text(text)
        error = sites.hq.fails("restore", backup, "--identity", wrong, code=2)
        assert str(wrong) in error["message"]
        assert "age-keygen" in error["hint"]
