"""The first parcel travels: each numbered promise of the whole journey, through the real command line."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import bagit
import pytest
from journey import (
    FIXTURES,
    SMALL,
    Sites,
    add,
    create,
    decrypted,
    describe_tree,
    digest_of,
    exported,
    make_home,
    make_sites,
    noise,
    run,
    sent,
    write,
    write_files,
)
from stock import stock_tool

from courier import text
from courier.media.reading import LAYOUTS, Layout
from courier.sending import drives, relayout
from courier.site.catalog import packages
from courier.site.home import open_site
from formats.records import parse_time

UNICODE = (
    "grüße",
    "gru\u0308ße decomposed",
    "日本語.wim",
    "עברית",
    "\U0001f4bf disc",
    "\u202e reversed",
    "zero\u200bwidth",
    "new\nline",
    "tab\tand\\backslash",
    "colon: question? star* pipe|",
    " leading and trailing ",
    "dot.",
    "CON",
    "aux.txt",
    "\x01\x7f",
    "İıſß",
)


def odd_tree(root: Path) -> Path:
    """Everything a file system can hold that a package must keep."""
    root.mkdir()
    (root / "empty file").write_bytes(b"")
    (root / "empty folder").mkdir()
    (root / ".hidden").write_bytes(b"hidden")
    (root / ".hidden folder").mkdir()
    (root / ".hidden folder" / ".deep").write_bytes(b"")
    script = root / "run.sh"
    script.write_bytes(b"#!/bin/sh\n")
    script.chmod(0o755)
    (root / ("n" * 255)).write_bytes(b"name of 255 bytes")
    (root / ("ü" * 127 + "x")).write_bytes(b"name of 255 bytes in two-byte characters")
    long = root
    for number in range(12):
        long = long / f"{number:02d}-{'folder' * 6}"
        long.mkdir()
    (long / "end of a path of over 400 characters.bin").write_bytes(noise(5000, seed=1))
    for number, name in enumerate(UNICODE):
        (root / name).write_bytes(name.encode() * (number % 3))
    (root / "Case").write_bytes(b"upper")
    (root / "case").write_bytes(b"lower")
    (root / "link").symlink_to("run.sh")
    (root / "link to folder").symlink_to("empty folder")
    (root / ".hidden folder" / "link up").symlink_to("../.hidden")
    (root / "link to nothing").symlink_to("not there")
    (root / "twice").write_bytes(noise(5000, seed=1))
    times = [0, 1, 999_999_999, -1, 4_102_444_800_123_456_789, 1_700_000_000_000_000_001]
    everything = sorted(root.rglob("*"), key=lambda path: -len(path.parts))
    for number, path in enumerate(everything):
        moment = times[number % len(times)]
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    return root


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """HQ1 and BR1, pinned and reachable."""
    return make_sites(tmp_path)


# 1. Sites and cards


def test_the_card_is_signed_by_its_own_key_and_its_fingerprint_shown_wherever_it_is_compared(tmp_path: Path) -> None:
    shown = run("init", "--site", "HQ1", "--name", "Headquarters", "--home", tmp_path / "HQ1")
    fingerprint = shown.out.split("Fingerprint: ")[1].splitlines()[0]
    assert len(fingerprint.replace(" ", "")) == 64
    assert all(len(group) == 4 for group in fingerprint.split(" "))
    printed = run("site", "card", "--home", tmp_path / "HQ1")
    envelope = json.loads(printed.out)
    assert len(envelope["signatures"]) == 1
    written = run("site", "card", "--out", tmp_path / "HQ1.card", "--home", tmp_path / "HQ1")
    assert fingerprint in written.out
    assert (tmp_path / "HQ1.card").read_text().strip() == printed.out.strip()
    other = make_home(tmp_path, "BR1")
    assert fingerprint in other.says("site", "trust", tmp_path / "HQ1.card")
    assert fingerprint in other.says("site", "show", "HQ1")
    assert other("site", "list")["sites"][0]["trusted"] is True


def test_a_card_is_pinned_by_the_fingerprint_read_over_the_phone_and_by_no_other(tmp_path: Path) -> None:
    hq, br = make_home(tmp_path, "HQ1"), make_home(tmp_path, "BR1")
    card = br("site", "card")
    wrong = "0" + card["fingerprint"][1:] if card["fingerprint"][0] != "0" else "1" + card["fingerprint"][1:]
    assert (
        hq.fails("site", "trust", tmp_path / "BR1.card", "--fingerprint", wrong, code=3)["code"] == "wrong-fingerprint"
    )
    assert hq("site", "list")["sites"] == []
    for spelling in (card["fingerprint"], card["fingerprint"].replace(" ", "").upper()):
        assert hq("site", "trust", tmp_path / "BR1.card", "--fingerprint", spelling)["trusted"] is True


def test_an_altered_card_is_refused(tmp_path: Path) -> None:
    hq = make_home(tmp_path, "HQ1")
    make_home(tmp_path, "BR1")
    card = (tmp_path / "BR1.card").read_bytes()
    signature = json.loads(card)["signatures"][0]["sig"].encode()
    other = (b"A" if signature[:1] != b"A" else b"B") + signature[1:]
    (tmp_path / "BR1.card").write_bytes(card.replace(signature, other))
    error = hq.fails("site", "trust", tmp_path / "BR1.card", code=3)
    assert error["code"] == "forged-card"
    assert "BR1" in error["message"]


def test_trust_without_a_yes_pins_nothing(tmp_path: Path) -> None:
    hq = make_home(tmp_path, "HQ1")
    make_home(tmp_path, "BR1")
    error = run("site", "trust", tmp_path / "BR1.card", "--home", hq.path, "--json", code=3).error
    assert error["code"] == "not-confirmed"
    assert hq("site", "list")["sites"] == []


# 2. The package store


def test_a_package_comes_out_as_it_went_in(sites: Sites) -> None:
    source = odd_tree(sites.root / "source")
    before = describe_tree(source)
    assert len(before) > 40
    package = add(sites.hq, source)
    assert exported(sites.hq, package, sites.root / "out") == before
    assert describe_tree(source) == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_package_comes_out_at_the_other_site_as_it_went_in(sites: Sites, layout: Layout) -> None:
    source = odd_tree(sites.root / "source")
    package = add(sites.hq, source)
    _, volumes = sent(sites.hq, package, layout=layout, out=sites.root / "media")
    sites.br("parcel", "receive", *volumes)
    sites.sync()
    assert exported(sites.br, package, sites.root / "out") == describe_tree(source)


def test_each_distinct_content_is_kept_once(sites: Sites) -> None:
    same = noise(10_000)
    first = write_files(sites.root / "one", a_bin=same, b_bin=same, empty=b"")
    second = write_files(sites.root / "two", c_bin=same, d_bin=b"other")
    add(sites.hq, first)
    add(sites.hq, second)
    assert sorted(content.size for content in sites.hq.contents()) == [5, 10_000]
    assert {content.sha256 for content in sites.hq.contents()} == {
        digest_of(second / name) for name in ("c.bin", "d.bin")
    }


def test_ids_and_versions_are_given_or_allotted(sites: Sites) -> None:
    files = write_files(sites.root / "files", a=b"a")
    assert add(sites.hq, files) == "HQ100001:1"
    assert add(sites.hq, files, id="HQ100001") == "HQ100001:2"
    assert add(sites.hq, files, id="HQ100001", version=7) == "HQ100001:7"
    assert add(sites.hq, files, id="HQ1000FF", version=3) == "HQ1000FF:3"
    assert add(sites.hq, files) == "HQ100100:1"
    sites.hq("package", "remove", "HQ100100:1")
    assert add(sites.hq, files) == "HQ100101:1", "an ID that was used is not used again"
    sites.hq("package", "remove", "HQ100001:7")
    assert add(sites.hq, files, id="HQ100001") == "HQ100001:8", "a version only grows"
    for command in ("show", "remove"):
        assert (
            "versions of HQ100001 in it: 1, 2, 8;" in sites.hq.fails("package", command, "HQ100001:7", code=6)["hint"]
        )


def test_ids_and_versions_that_are_used_up_are_said_and_the_way_on(sites: Sites) -> None:
    files = write_files(sites.root / "files", a=b"a")
    last = 10**18
    assert add(sites.hq, files, id="HQ1FFFFF", version=last) == f"HQ1FFFFF:{last}"
    error = sites.hq.fails("package", "add", files, "--name", "Test", code=3)
    assert (error["code"], "--id" in error["hint"]) == ("ids-used-up", True)
    assert sites.hq.fails("package", "add", files, "--name", "Test", "--id", "HQ1FFFFF", code=3)["code"] == (
        "versions-used-up"
    )
    assert add(sites.hq, files, id="HQ1FFFFF", version=last) == f"HQ1FFFFF:{last}", "the same command again"
    assert add(sites.hq, files, id="HQ100001") == "HQ100001:1"


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_command_of_the_other_site_is_told_so(sites: Sites, encrypt: bool) -> None:
    """The commonest slip: COURIER_HOME is still that of the sender."""
    package = add(sites.hq, write_files(sites.root / "files", a=b"a"))
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", encrypt=encrypt)
    before = sites.hq.state()
    for options in (), ("--hold",):
        error = sites.hq.fails("parcel", "receive", *volumes, *options, code=3)
    assert sites.hq.state() == before
    assert sites.hq("parcel", "list")["received"] == []
    assert (error["code"], "receive it at BR1" in error["hint"]) == ("own-parcel", True)
    assert "made here, at HQ1, for BR1" in error["message"]
    commands = [(word, parcel) for word in ("import", "repair", "arrived", "accept")]
    for command in (*commands, ("refuse", parcel, "--reason", "x")):
        error = sites.hq.fails("parcel", *command, code=6)
        assert "of HQ1, this site" in error["message"]
        assert "COURIER_HOME" in error["hint"]


def test_parcel_numbers_that_are_used_up_are_said_and_the_way_on(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "files", a=b"a"))
    with closing(open_site(sites.hq.path)) as site, site.catalogue.writing() as connection:
        packages.raise_counter(connection, "parcel", 999_998)
    create = ("parcel", "create", package, "--to", "BR1", "--anyway", "a test")
    assert sites.hq(*create, "--capacity", "5MB")["parcel_id"] == "HQ1-999999"
    error = sites.hq.fails(*create, "--capacity", "6MB", code=3)
    assert (error["code"], "another code" in error["hint"]) == ("ids-used-up", True)


def test_list_show_and_verify_say_what_is_there(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "files", a=b"alpha", b=b"beta"), name="Two letters")
    (listed,) = sites.hq("package", "list")["packages"]
    assert (listed["package_id"], listed["version"]) == ("HQ100001", 1)
    assert (listed["name"], listed["files"], listed["bytes"]) == ("Two letters", 2, 9)
    assert sites.hq("package", "show", package) == listed
    assert "alpha" not in sites.hq.says("package", "show", package)
    assert sites.hq("package", "verify")["packages"][0]["state"] == "good"
    sites.hq.spoil(b"alpha", b"alphA")
    ran = sites.hq.ran("package", "verify", package, code=4)
    assert ran.document["packages"][0]["problems"] == [{"path": "a", "problem": "content differs from its SHA-256"}]
    assert not (sites.root / "out").exists()
    assert sites.hq.fails("package", "export", package, "--to", sites.root / "out", code=4)["code"] == "damaged"
    assert not (sites.root / "out").exists()


def test_content_shared_with_another_package_stays_when_one_is_removed(sites: Sites) -> None:
    same = noise(10_000)
    first = add(sites.hq, write_files(sites.root / "one", a=same, only=b"only here"))
    second = add(sites.hq, write_files(sites.root / "two", b=same))
    removed = sites.hq("package", "remove", first)
    assert removed["removed"] == [{"package_id": "HQ100001", "version": 1}]
    assert [content.size for content in sites.hq.contents()] == [10_000]
    assert exported(sites.hq, second, sites.root / "out")["b"][1] == 10_000
    sites.hq("package", "remove", second)
    assert sites.hq.contents() == []


# 3. Creating a parcel


def test_a_parcel_of_several_packages_versions_and_destinations_carries_each_content_once(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    same, old, new = noise(200_000, seed=1), noise(50_000, seed=2), noise(60_000, seed=3)
    first = add(sites.hq, write_files(tmp_path / "a1", same=same, image=old))
    second = add(sites.hq, write_files(tmp_path / "a2", same=same, image=new), id="HQ100001")
    third = add(sites.hq, write_files(tmp_path / "b", again=same))
    document = sites.hq(
        *("parcel", "create", first, second, third, "--to", "BR1", "--to", "BR2"),
        *("--capacity", "10MB", "--compress", "none", "--no-encrypt", "--redundancy", "none"),
    )
    payload = len(same) + len(old) + len(new)
    assert payload < document["bytes"] < payload + 2000
    parcel = document["parcel_id"]
    volumes = write(sites.hq, parcel, "folder", tmp_path / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync(sites.hq)
    for number, home in enumerate(sites.homes[1:]):
        home("channel", "sync")
        assert len(home("parcel", "receive", *volumes)["imported"]) == 3
        for package, source in ((first, "a1"), (second, "a2"), (third, "b")):
            out = tmp_path / f"out-{number}-{package.replace(':', '-')}"
            assert exported(home, package, out) == describe_tree(tmp_path / source)
        assert sites.hq("parcel", "show", parcel)["state"] == "Sent"
        home("channel", "sync")
    sites.sync(sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


@pytest.mark.parametrize("compress", ["none", "auto"])
@pytest.mark.parametrize("encrypted", ["encrypt", "no-encrypt"])
def test_dry_run_prints_the_plan_that_the_build_keeps_and_changes_nothing(
    sites: Sites, compress: str, encrypted: str
) -> None:
    images = [FIXTURES / name for name in ("boot.wim", "disk.raw", "disk.qcow2")]
    added = sites.hq("package", "add", *images, "--name", "Test", "--no-holes")
    package = f"{added['package_id']}:{added['version']}"
    command = (
        "parcel",
        "create",
        package,
        "--to",
        "BR1",
        "--capacity",
        SMALL,
        "--compress",
        compress,
        f"--{encrypted}",
    )
    before = sites.hq.state()
    plan = sites.hq(*command, "--dry-run")
    shown = sites.hq.says(*command, "--dry-run")
    assert sites.hq.state() == before
    assert list((sites.hq.path / "parcels" / "out").iterdir()) == []
    assert plan["dry_run"] is True
    built = sites.hq(*command)
    assert built["parcel_id"] == plan["parcel_id"]
    assert len(built["archives"]) == len(plan["archives"])
    assert f"{len(plan['archives'])} archives" in shown
    assert f"{len(plan['volumes'])} volumes" in shown
    if compress == "none":
        assert plan["exact"] is True
        assert [a["bytes"] for a in built["archives"]] == [a["bytes"] for a in plan["archives"]]
        assert [v["bytes"] for v in built["volumes"]] == [v["bytes"] for v in plan["volumes"]]
    else:
        assert built["bytes"] < plan["bytes"]
        assert len(built["volumes"]) <= len(plan["volumes"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("capacity", ["793KB", "1MB", "3MB"])
def test_no_volume_exceeds_the_capacity_and_every_archive_is_whole_on_one(
    sites: Sites, layout: Layout, capacity: str
) -> None:
    package = add(sites.hq, *(FIXTURES / name for name in ("boot.wim", "disk.raw", "disk.qcow2", "install.esd")))
    parcel = create(sites.hq, package, capacity=capacity, encrypt=True)
    volumes = write(sites.hq, parcel, layout, sites.root / "media")
    limit = int(float(capacity[:-2]) * {"KB": 1e3, "MB": 1e6}[capacity[-2:]])
    shown = sites.hq("parcel", "show", parcel)["volumes"]
    for path, volume in zip(volumes, shown, strict=True):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        clusters = sum(-(-file.stat().st_size // 4096) * 4096 for file in files) if layout == "folder" else 0
        taken = max(clusters, sum(file.stat().st_size for file in files))
        assert taken <= limit
        assert limit >= volume["bytes"] >= sum(file.stat().st_size for file in files)
        assert volume["number"] == volumes.index(path) + 1
        assert volume["of"] == len(volumes)


def _archives(volumes: list[Path]) -> list[Path]:
    return sorted(path for volume in volumes for path in volume.glob("data/archives/*.7z"))


def test_what_is_compressed_already_is_stored_and_what_shrinks_is_not(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.raw", FIXTURES / "install.esd")
    parcel = create(sites.hq, package, capacity="10MB", encrypt=False)
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    listed = "".join(
        subprocess.run([stock_tool("7z"), "l", "-ba", archive], check=True, capture_output=True, text=True).stdout
        for archive in _archives(volumes)
    )
    names = sorted(line.split()[-1] for line in listed.splitlines())
    assert names == ["HQ100001-1/boot.wim", "HQ100001-1/disk.raw.zst", "HQ100001-1/install.esd"]


def test_a_file_larger_than_a_medium_is_cut_in_members_that_stock_tools_join(sites: Sites) -> None:
    image = FIXTURES / "boot.wim"
    package = add(sites.hq, image)
    parcel = create(sites.hq, package, capacity="776KB", compress="none", encrypt=False)
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    assert len(volumes) >= 3
    for archive in _archives(volumes):
        subprocess.run([stock_tool("7z"), "x", f"-o{sites.root / 'x'}", archive], check=True, capture_output=True)
    parts = sorted((sites.root / "x" / "HQ100001-1").iterdir())
    assert [part.name for part in parts] == [f"boot.wim.{n:03d}" for n in range(1, len(parts) + 1)]
    assert b"".join(part.read_bytes() for part in parts) == image.read_bytes()


def test_the_packing_list_on_every_volume_is_the_same_and_signed_by_the_sender(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    assert len(volumes) >= 2
    lists = {(volume / "courier" / "packing-list.json").read_bytes() for volume in volumes}
    assert len(lists) == 1
    checked = sites.br("parcel", "verify", *volumes)
    assert [volume["state"] for volume in checked["volumes"]] == ["good"] * len(volumes)
    with_card = run("parcel", "verify", *volumes, "--card", sites.root / "HQ1.card", "--home", "/nowhere", "--json")
    assert with_card.document == checked


# 4. Writing


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_volume_written_again_is_the_same_to_the_byte_and_none_is_overwritten(sites: Sites, layout: Layout) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    first = write(sites.hq, parcel, layout, sites.root / "first")
    again = write(sites.hq, parcel, layout, sites.root / "again")
    assert [described(path) for path in first] == [described(path) for path in again]
    kept = sites.hq("parcel", "write", parcel, "--layout", layout, "--out", sites.root / "first")
    assert all(volume["kept"] for volume in kept["volumes"])
    target = first[0] if first[0].is_file() else next(first[0].rglob("*.7z*"))
    target.write_bytes(b"something else")
    error = sites.hq.fails(
        *("parcel", "write", parcel, "--layout", layout, "--out", sites.root / "first", "--volume", 1), code=3
    )
    assert error["code"] == "target-exists"
    assert str(first[0]) in error["message"]
    assert target.read_bytes() == b"something else"


def described(path: Path) -> dict[str, str]:
    """Every file of a volume and its digest."""
    if path.is_file():
        return {"": digest_of(path)}
    return {file.relative_to(path).as_posix(): digest_of(file) for file in path.rglob("*") if file.is_file()}


def test_one_volume_alone_is_written_when_asked_for(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    document = sites.hq("parcel", "write", parcel, "--layout", "iso", "--out", sites.root / "m", "--volume", 2)
    assert [volume["number"] for volume in document["volumes"]] == [2]
    assert document["state"] == "Built"
    assert [path.name for path in (sites.root / "m").iterdir()] == [Path(document["volumes"][0]["path"]).name]
    error = sites.hq.fails("parcel", "ship", parcel, code=3)
    assert error["code"] == "not-written"
    assert "1" in error["message"]


def test_another_medium_needs_no_new_build(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package, capacity="776KB")
    recipes = sites.hq.path / "parcels/out" / parcel / "recipes"
    built = {path.name: digest_of(path) for path in recipes.iterdir()}
    document = sites.hq(
        *("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "m", "--capacity", "5MB")
    )
    assert len(document["volumes"]) == 1
    assert {path.name: digest_of(path) for path in recipes.iterdir()} == built
    sites.hq("parcel", "ship", parcel)
    sites.br("parcel", "receive", sites.root / "m")
    sites.sync()
    assert exported(sites.br, package, sites.root / "out")["boot.wim"][2] == digest_of(FIXTURES / "boot.wim")


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_build_copies_nothing_that_does_not_shrink(sites: Sites, encrypt: bool) -> None:
    source = write_files(sites.root / "source", image_bin=noise(6_000_000), log_txt=b"the same line\n" * 100_000)
    package = add(sites.hq, source)
    parcel = create(sites.hq, package, capacity="20MB", redundancy="none", encrypt=encrypt)
    assert on_disk(sites.hq.path / "parcels") < 100_000
    volumes = write(sites.hq, parcel, "iso", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


def test_content_of_a_removed_package_stays_while_a_parcel_is_on_its_way(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "source", image_bin=noise(300_000)))
    parcel = create(sites.hq, package, capacity="20MB")
    assert sites.hq("package", "remove", package)["freed"] < 10_000
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    other = add(sites.hq, write_files(sites.root / "other", a=b"a"))
    sites.hq("package", "remove", other)
    assert sites.hq.contents() == []


@pytest.mark.parametrize(
    "moment", ["add_parity", "sign_packing", "sent_event", "record_planned_volumes", "forget_other_editions"]
)
def test_a_stop_anywhere_in_laying_out_anew_leaves_the_old_edition_or_the_new_one(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package, capacity="776KB")
    write(sites.hq, parcel, "iso", sites.root / "old")
    anew = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "new", "--capacity", "5MB")
    with monkeypatch.context() as patched:
        patched.setattr(relayout, moment, stop)
        sites.hq.ran(*anew, code=8)
    assert sites.hq("parcel", "verify", parcel)["volumes"][0]["problems"] == []
    if moment == "forget_other_editions":
        assert sites.hq("parcel", "show", parcel)["state"] == "Built"
        out = sites.root / "new"
    else:
        # The old edition counts: it is whole, and what was written of it is shipped.
        assert sites.hq("parcel", "show", parcel)["state"] == "Written"
        out = sites.root / "old"
    if moment != "sign_packing":
        sites.hq(*anew)
        out = sites.root / "new"
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", out)["state"] == "Imported"
    kept = {path.name for path in (sites.hq.path / "parcels/out" / parcel).glob("packing-list-*")}
    assert len(kept) <= 2


def test_without_room_for_the_new_edition_the_old_one_still_counts(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package, capacity="776KB")
    write(sites.hq, parcel, "iso", sites.root / "old")
    monkeypatch.setattr(drives, "free_space", lambda _: 300_000)
    error = sites.hq.fails(
        *("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "new", "--capacity", "5MB"), code=5
    )
    assert error["code"] == "no-space"
    monkeypatch.undo()
    assert sites.hq("parcel", "show", parcel)["state"] == "Written"
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", sites.root / "old")["state"] == "Imported"


def test_a_script_is_told_which_volumes_a_drive_has_room_for(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), capacity="776KB")
    # A drive for one volume, and not for two.
    monkeypatch.setattr(drives, "free_space", lambda _: 1_000_000)
    words = ("parcel", "write", parcel, "--layout", "folder")
    error = sites.hq.fails(*words, "--out", sites.root / "one", code=5)
    assert "here fit --volume 1" in error["hint"]
    assert not (sites.root / "one").exists()
    for number in range(1, len(sites.hq("parcel", "show", parcel)["volumes"]) + 1):
        sites.hq(*words, "--out", sites.root / f"drive {number}", "--volume", number)
    assert sites.hq("parcel", "show", parcel)["state"] == "Written"


# 5. Shipping


def test_a_shared_folder_shows_nothing_of_what_a_journey_is_about(sites: Sites) -> None:
    image = write_files(sites.root / "in", conspicuous=noise(1000, 1))
    package = add(sites.hq, image, name="Telltale")
    parcel = create(sites.hq, package)
    volumes = write(sites.hq, parcel, "folder", sites.root / "m")
    sites.hq("parcel", "ship", parcel, "--carrier", "Vans-and-Sons", "--tracking", "TRACK-77", "--seal", "1=SEAL-007")
    seen: dict[str, bytes] = {}
    for home in (sites.hq, sites.br, sites.hq, sites.br):
        home("channel", "sync")
        seen |= {path.name: path.read_bytes() for path in (sites.root / "share").rglob("*.msg")}
        if home is sites.br:
            home("parcel", "receive", *volumes)
    assert len(seen) > 5
    words = (
        parcel,
        package.partition(":")[0],
        "conspicuous",
        "Telltale",
        "Vans-and-Sons",
        "TRACK-77",
        "SEAL-007",
        "payload",
    )
    for body in seen.values():
        assert body.startswith(b"age-encryption.org/v1\n")
        assert not [word for word in words if word.encode() in body]


def test_ship_marks_sent_and_sync_puts_definitions_and_notice_into_the_channel(sites: Sites) -> None:
    one = add(sites.hq, FIXTURES / "boot.wim")
    two = add(sites.hq, FIXTURES / "disk.qcow2")
    parcel, _ = sent(sites.hq, one, two, out=sites.root / "media")
    shown = sites.hq("parcel", "show", parcel)
    assert shown["state"] == "Sent"
    waiting = [message["type"] for message in sites.hq("channel", "status")["outbox"]]
    assert sorted(waiting) == ["package", "package", "ship-notice"]
    # The custody ledger so far goes with them, and a report of this site.
    assert sites.hq("channel", "sync")["delivered"] == 5
    messages = list((sites.root / "share" / "BR1").iterdir())
    assert len(messages) == 5
    for message in messages:
        assert message.name == f"{digest_of(message)}.msg"
        assert decrypted(sites.br, message)["signatures"]
    assert sites.br("channel", "sync")["taken"] == 5
    assert list((sites.root / "share" / "BR1").iterdir()) == []
    (listed,) = sites.br("parcel", "list")["received"]
    assert parse_time(listed.pop("since")) <= time.time_ns()
    assert listed == {"parcel_id": parcel, "state": "Announced", "from": "HQ1", "priority": "medium"}


def test_carrier_tracking_and_seals_are_kept_and_the_notice_says_them(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    write(sites.hq, parcel, "folder", sites.root / "m")
    sites.hq("parcel", "ship", parcel, "--carrier", "Vans", "--tracking", "V-1", "--seal", "1=A007")
    assert sites.hq("parcel", "show", parcel)["volumes"][0]["seal"] == "A007"
    assert "carrier Vans, tracking V-1" in sites.hq.says("parcel", "log", parcel)
    sites.sync()
    assert "carrier Vans, tracking V-1" in sites.br.says("parcel", "log", parcel)


def written_parcel(sites: Sites) -> str:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    write(sites.hq, parcel, "folder", sites.root / "m")
    return parcel


def test_shipping_again_says_what_changed(sites: Sites) -> None:
    parcel = written_parcel(sites)
    sites.hq("parcel", "ship", parcel, "--carrier", "Vans", "--seal", "1=A1")
    said = sites.hq.says("parcel", "ship", parcel, "--tracking", "V-2", "--seal", "1=B1")
    assert "is Sent again, changed: seal of volume 1 B1 (A1 before), tracking V-2 (none before);" in said
    assert "as it was" not in said
    assert "is Sent again, as it was" in sites.hq.says("parcel", "ship", parcel)
    assert sites.hq("parcel", "ship", parcel, "--seal", "2=C")["changes"] == ["seal of volume 2 C (none before)"]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_two_seals_on_a_volume_are_refused_and_one_on_several_is_noted(sites: Sites, more: tuple[str, ...]) -> None:
    """A box that holds several volumes has one seal; a slip of the pen looks the same."""
    parcel = written_parcel(sites)
    before = sites.hq.state()
    error = sites.hq.fails("parcel", "ship", parcel, "--seal", "1=A", "--seal", "1=B", *more, code=2)
    assert "volume 1 has A and B" in error["message"]
    assert sites.hq.state() == before
    assert sites.hq("parcel", "ship", parcel, "--seal", "1=A")["warnings"] == []
    (warning,) = sites.hq("parcel", "ship", parcel, "--seal", "2=A", *more)["warnings"]
    assert "seal A is on volumes 1 to 2: right if it is on a box" in warning


def test_a_dry_run_of_shipping_says_what_the_shipping_does(sites: Sites) -> None:
    parcel = written_parcel(sites)
    options = ("parcel", "ship", parcel, "--carrier", "Vans", "--tracking", "V-1", "--seal", "1=A1")
    for number, messages in enumerate((2, 1)):
        before = sites.hq.state()
        said = sites.hq.says(*options, "--dry-run")
        assert f"carrier Vans, tracking V-1, seals: 1=A1; {messages} message" in said
        assert ("again, as it was" in said) == bool(number)
        would = sites.hq(*options, "--dry-run")
        assert sites.hq.state() == before
        does = sites.hq(*options)
        assert (would["queued"], does["queued"]) == (messages, messages)
        assert would["seals"] == does["seals"] == [{"volume": 1, "serial": "A1"}]


def test_messages_wait_while_the_channel_folder_is_away(sites: Sites) -> None:
    sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    (sites.root / "share").rename(sites.root / "away")
    error = sites.hq.fails("channel", "sync", code=7)
    assert error["code"] == "unreachable"
    assert str(sites.root / "share") in error["message"]
    (sites.root / "away").rename(sites.root / "share")
    assert sites.hq("channel", "sync")["delivered"] == 4


# 6. Receiving


@pytest.mark.parametrize("encrypted", ["encrypt", "no-encrypt"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_volumes_in_any_order_and_repeatedly_until_nothing_is_missing(
    sites: Sites, layout: Layout, encrypted: str
) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.qcow2")
    parcel, volumes = sent(
        *(sites.hq, package), layout=layout, out=sites.root / "media", encrypt=encrypted == "encrypt", compress="none"
    )
    sites.sync()
    assert len(volumes) >= 3
    before = [described(path) for path in volumes]
    order = list(enumerate(volumes, 1)) * 2
    random.Random(7).shuffle(order)
    missing = set(range(1, len(volumes) + 1))
    for number, path in order:
        missing.discard(number)
        document = sites.br("parcel", "receive", path)
        assert document["parcel_id"] == parcel
        assert document["missing_volumes"] == sorted(missing)
        (volume,) = document["volumes"]
        assert (volume["number"], volume["of"], volume["state"]) == (number, len(volumes), "Received")
        assert volume["path"] == str(path)
        assert volume["bytes"] > 0
        assert document["damaged_blocks"] == 0
        if missing:
            assert document["state"] == "Arriving"
            assert document["imported"] == []
            assert sites.br("package", "list")["packages"] == []
            named = f"{text.volumes(missing)} of {len(volumes)} "
            assert f"still missing, whole or in part: {named}" in sites.br.says("parcel", "show", parcel)
        else:
            assert document["state"] == "Imported"
    assert [described(path) for path in volumes] == before, "media are never written to"
    assert exported(sites.br, package, sites.root / "out") == exported(sites.hq, package, sites.root / "in")


def test_one_parcel_is_received_from_a_mixture_of_layouts_and_a_folder_of_volumes(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.qcow2")
    parcel = create(sites.hq, package)
    written = {layout: write(sites.hq, parcel, layout, sites.root / layout) for layout in LAYOUTS}
    count = len(written["folder"])
    assert count >= 3
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    for n in range(count):
        layout = LAYOUTS[n % len(LAYOUTS)]
        target = sites.root / "mixed" / written[layout][n].name
        target.parent.mkdir(exist_ok=True)
        written[layout][n].rename(target)
    document = sites.br("parcel", "receive", sites.root / "mixed")
    assert document["imported"] == [{"package_id": "HQ100001", "version": 1, "outcome": "imported"}]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_before_the_notice_the_content_is_held_and_sync_finishes_by_itself(sites: Sites, layout: Layout) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, layout=layout, out=sites.root / "media")
    document = sites.br("parcel", "receive", *volumes)
    assert document["state"] == "Held"
    assert document["missing_volumes"] == []
    assert document["imported"] == []
    assert "ship notice of HQ1" in document["awaiting"][0]
    assert "it is held, awaiting" in sites.br.says("parcel", "show", parcel)
    assert sites.br("package", "list")["packages"] == []
    assert sites.br.fails("parcel", "import", parcel, code=3)["code"] == "held"
    assert sites.br("channel", "sync")["imported"] == [], "the sender has not delivered yet"
    sites.hq("channel", "sync")
    done = sites.br("channel", "sync")
    assert done["imported"] == [{"package_id": "HQ100001", "version": 1, "outcome": "imported"}]
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert list((sites.br.path / "parcels" / "in").glob("HQ1*")) == [], "the spool is given back"


def test_the_notice_alone_or_the_definition_alone_is_not_enough(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.br("parcel", "receive", *volumes)
    sites.hq("channel", "sync")
    box = sites.root / "share" / "BR1"
    held = {decrypted(sites.br, path)["payloadType"]: path for path in box.iterdir()}
    definition = next(path for kind, path in held.items() if "package" in kind)
    definition.rename(sites.root / definition.name)
    done = sites.br("channel", "sync")
    assert done["taken"] == 3
    assert done["imported"] == []
    assert done["parcels"][0]["awaiting"] == ["the definition of HQ100001:1 (by network: courier channel sync)"]
    (sites.root / definition.name).rename(definition)
    assert len(sites.br("channel", "sync")["imported"]) == 1


def test_a_parcel_on_hold_is_imported_when_the_operator_says_so(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.sync()
    document = sites.br("parcel", "receive", *volumes, "--hold")
    assert document["state"] == "Held"
    assert "courier parcel import" in document["awaiting"][0]
    assert sites.br("channel", "sync")["imported"] == []
    assert sites.br("parcel", "import", parcel)["imported"][0]["package_id"] == "HQ100001"


def test_the_receipt_goes_back_and_confirms_the_parcel(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    assert sites.hq("parcel", "show", parcel)["state"] == "Sent"
    sites.sync(sites.br)
    kinds = {decrypted(sites.hq, path)["payloadType"] for path in (sites.root / "share" / "HQ1").iterdir()}
    assert "application/vnd.courier.receipt+json" in kinds
    sites.sync(sites.hq)
    shown = sites.hq("parcel", "show", parcel)
    assert shown["state"] == "Confirmed"
    assert [(to["site"], to["confirmed"]) for to in shown["to"]] == [("BR1", True)]
    assert "BR1: HQ100001:1 imported" in sites.hq.says("parcel", "log", parcel)


def test_an_older_version_is_imported_beside_the_newer_and_reported_as_such(sites: Sites) -> None:
    old = add(sites.hq, write_files(sites.root / "old", image=noise(1000, 1)))
    new = add(sites.hq, write_files(sites.root / "new", image=noise(1000, 2)), id="HQ100001")
    first, newer = sent(sites.hq, new, out=sites.root / "m1")
    second, older = sent(sites.hq, old, out=sites.root / "m2")
    sites.sync()
    assert sites.br("parcel", "receive", *newer)["imported"][0]["outcome"] == "imported"
    document = sites.br("parcel", "receive", *older)
    assert document["imported"] == [{"package_id": "HQ100001", "version": 1, "outcome": "imported-older"}]
    assert [p["version"] for p in sites.br("package", "list")["packages"]] == [1, 2]
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", first)["state"] == "Confirmed"
    assert "BR1: HQ100001:1 imported-older" in sites.hq.says("parcel", "log", second)


def test_what_the_store_holds_already_is_reported_and_confirmed(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, out=sites.root / "m1")
    parcel, again = sent(sites.hq, package, out=sites.root / "m2", capacity="5MB")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    assert sites.br("parcel", "receive", *again)["imported"][0]["outcome"] == "already-held"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_messages_delivered_twice_and_receipts_again_change_nothing(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.sync(sites.hq)
    box = sites.root / "share" / "BR1"
    copies = {path.name: path.read_bytes() for path in box.iterdir()}
    sites.sync(sites.br)
    sites.br("parcel", "receive", *volumes)
    for name, data in copies.items():
        (box / name).write_bytes(data)
    assert sites.br("channel", "sync")["taken"] == 0
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert len(sites.br("package", "list")["packages"]) == 1
    sites.sync(sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


# Real tools on the volumes and on what was imported


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sites, str, dict[Layout, list[Path]]]:
    """Every fixture, sent unencrypted in every layout, imported at BR1 from the ISO images and exported to ``got``."""
    sites = make_sites(tmp_path_factory.mktemp("travelled"))
    package = add(sites.hq, FIXTURES, name="Everything")
    parcel = create(sites.hq, package, encrypt=False)
    written = {layout: write(sites.hq, parcel, layout, sites.root / layout) for layout in LAYOUTS}
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", sites.root / "iso")["imported"]
    sites.br("package", "export", package, "--to", sites.root / "got")
    return sites, package, written


Travelled = tuple[Sites, str, dict[Layout, list[Path]]]


def _stock(*command: str | Path, cwd: Path | None = None) -> str:
    tool, *arguments = command
    done = subprocess.run([stock_tool(str(tool)), *arguments], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def validated(folder: Path) -> Any:
    """The bag in a folder, validated by the Library of Congress's bagit."""
    bag = bagit.Bag(str(folder))
    bag.validate()
    return bag


@pytest.mark.parametrize(
    "command",
    [
        ("wimverify", "boot.wim"),
        ("wimverify", "install.esd"),
        ("wimverify", "split/install.swm", "--ref=split/install*.swm"),
        ("7z", "t", "boot.wim"),
        ("isoinfo", "-d", "-i", "bootable.iso"),
        ("xorriso", "-indev", "bootable.iso", "-check_media", "--"),
        ("7z", "t", "bootable.iso"),
        ("qemu-img", "check", "disk.qcow2"),
        ("mcopy", "-n", "-s", "-i", "disk.raw@@65536", "::/*", "/tmp/"),
        ("sha256sum", "--check", "--strict", "SHA256SUMS"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_imported_images_pass_their_stock_tools(travelled: Travelled, tmp_path: Path, command: tuple[str, ...]) -> None:
    arguments = [str(tmp_path) if text == "/tmp/" else text for text in command]
    _stock(*arguments, cwd=travelled[0].root / "got")


def test_every_folder_volume_is_a_bag_that_bagit_and_sha256sum_verify(travelled: Travelled) -> None:
    for volume in travelled[2]["folder"]:
        bag = validated(volume)
        assert bag.info["Bag-Group-Identifier"] == "HQ1-000001"
        assert bag.info["Bag-Count"] == f"{int(volume.name[-3:])} of {len(travelled[2]['folder'])}"
        _stock("sha256sum", "--check", "--strict", "manifest-sha256.txt", cwd=volume)
        _stock("sha256sum", "--check", "--strict", "tagmanifest-sha256.txt", cwd=volume)


def test_every_iso_volume_holds_that_bag_by_the_word_of_three_tools(travelled: Travelled, tmp_path: Path) -> None:
    for folder, volume in zip(travelled[2]["folder"], travelled[2]["iso"], strict=True):
        assert f"Volume id: {folder.name}" in _stock("isoinfo", "-d", "-i", volume)
        xorriso, sevenzip = tmp_path / f"x-{folder.name}", tmp_path / f"z-{folder.name}"
        _stock("xorriso", "-osirrox", "on", "-indev", f"stdio:{volume}", "-extract", "/", xorriso)
        _stock("7z", "x", f"-o{sevenzip}", volume)
        validated(xorriso)
        _stock("sha256sum", "--check", "--strict", "manifest-sha256.txt", cwd=xorriso)
        assert described(xorriso) == described(folder) == described(sevenzip)


def test_every_archive_on_the_volumes_passes_7z(travelled: Travelled) -> None:
    archives = _archives(travelled[2]["folder"])
    assert len(archives) >= 3
    for archive in archives:
        assert "Everything is Ok" in _stock("7z", "t", archive)
        assert archive.stat().st_size < 1 << 32


def test_encrypted_archives_open_with_age_and_7z_alone(sites: Sites, tmp_path: Path) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, out=sites.root / "media", encrypt=True)
    archives = sorted(path for volume in volumes for path in volume.glob("data/archives/*"))
    assert {path.suffixes[-1] for path in archives} == {".age"}
    identity = sites.br.path / "keys" / "recipient.key"
    for archive in archives:
        opened = tmp_path / archive.stem
        _stock("age", "-d", "-i", identity, "-o", opened, archive)
        assert "Everything is Ok" in _stock("7z", "t", opened)


def test_the_sender_cannot_read_what_it_encrypted_and_strangers_neither(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=tmp_path / "media")
    before = sites.homes[2].state()
    error = sites.homes[2].fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "not-for-us"
    assert "BR1" in error["message"]
    assert sites.homes[2].state() == before
