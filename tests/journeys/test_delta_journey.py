"""Parcels that carry only what their destinations do not hold: monthly versions, lost shipments, lost bases."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from journey import Home, Sites, add, create, digests_of, make_sites, noise, sent, write

from courier.packages.find import find_package
from courier.receiving.delta_import import DeltaImport
from courier.receiving.held_bases import HeldBases
from courier.sending.archive_builder import ArchiveBuilder, BuiltArchive
from courier.sending.delta_patches import Recipe, lines_of
from courier.site.home import open_site
from formats.documents.fields import PackageRef
from formats.documents.listing import FileEntry
from formats.documents.packing import PackingList

SIZE = 1_500_000
"""Bytes of the image."""


def month(number: int) -> dict[str, bytes]:
    """The files of a monthly version: an image of which a tenth of a percent changes, and files that stay or go."""
    image = bytearray(noise(SIZE, seed=1))
    for month_before in range(2, number + 1):
        change = random.Random(month_before)
        for _ in range(3):
            at = change.randrange(len(image))
            image[at : at + 50] = change.randbytes(150)
    return {
        "image.wim": bytes(image),
        "same.iso": noise(400_000, seed=2),
        f"notes-{number}.txt": f"version {number}".encode(),
        "moved.bin" if number > 2 else "driver.bin": noise(100_000, seed=3),
    }


def tree(root: Path, number: int) -> Path:
    folder = root / f"month-{number}"
    folder.mkdir()
    for name, data in month(number).items():
        (folder / name).write_bytes(data)
    return folder


def publish(home: Home, root: Path, number: int, package: str = "") -> str:
    """Add a monthly version; the ``ID:VERSION`` of it."""
    more = {"id": package} if package else {}
    return add(home, *sorted(tree(root, number).iterdir()), name="Image", **more)


def deliver(sites: Sites, *packages: str, to: tuple[str, ...], out: Path, **options: Any) -> str:
    """Send a parcel, receive it at every site it is for, and bring the receipts and reports back; its ID."""
    parcel, volumes = sent(sites.hq, *packages, to=to, out=out, capacity="30MB", **options)
    sites.sync()
    for home in sites.homes[1:]:
        if home.code in to:
            document = home("parcel", "receive", *volumes)
            assert document["parcels"][0]["state"] == "Imported", document
    sites.sync()
    sites.sync()
    return parcel


def held(home: Home, package: str, target: Path) -> dict[str, str]:
    home("package", "export", package, "--to", target)
    return digests_of(target)


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def test_a_new_version_travels_as_what_has_changed(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    package = first.partition(":")[0]
    second = publish(sites.hq, tmp_path, 2, package)

    planned = sites.hq("parcel", "create", second, "--to", "BR1", "--capacity", "30MB", "--dry-run")
    assert planned["delta"]["bases"] == [{"package_id": package, "version": 1}]
    assert planned["delta"]["bytes_saved"] > SIZE
    assert planned["bytes"] < 100_000
    deliver(sites, second, to=("BR1",), out=tmp_path / "v2")
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")
    sites.br("package", "verify", second)


def restored(volumes: list[Path], target: Path, *options: object, code: int = 0) -> str:
    """Run the restore script of the first volume by itself, as a person without the toolkit would."""
    command = [sys.executable, "-I", volumes[0] / "restore.py", "--to", target, *options, *volumes]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("compress", ["auto", "none"])
def test_the_restore_script_makes_a_delta_from_the_folder_of_its_base(
    sites: Sites, tmp_path: Path, compress: str
) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    parcel = create(sites.hq, second, capacity="30MB", encrypt=False, compress=compress)
    volumes = write(sites.hq, parcel, "folder", tmp_path / "out")

    page = (volumes[0] / "RESTORE.txt").read_text()
    assert page.splitlines()[2].startswith(f"THIS IS A DELTA ON {first}:")
    assert f"delta on {first}" in (volumes[0] / "bag-info.txt").read_text().replace("\r\n ", "").replace("\n ", "")
    said = restored(volumes, tmp_path / "made", "--base", tmp_path / "month-1")
    name = second.replace(":", "-")
    assert f"restored: {tmp_path / 'made' / name}" in said
    assert digests_of(tmp_path / "made" / name) == digests_of(tmp_path / "month-2")
    refused = restored(volumes, tmp_path / "none", code=6)
    assert f"delta on {first}: --base DIR" in refused
    shutil.copytree(tmp_path / "month-1", tmp_path / "other")
    spoilt = bytearray((tmp_path / "other" / "image.wim").read_bytes())
    spoilt[1000] ^= 1
    (tmp_path / "other" / "image.wim").write_bytes(spoilt)
    assert "contents of it that are not here: 1" in restored(
        volumes, tmp_path / "none", "--base", tmp_path / "other", code=6
    )


def test_three_months_reach_two_sites_that_hold_different_versions_although_one_shipment_is_lost(
    tmp_path: Path,
) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    br1, br2 = sites.homes[1:]
    first = publish(sites.hq, tmp_path, 1)
    package = first.partition(":")[0]
    deliver(sites, first, to=("BR1", "BR2"), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, package)
    # The second month is lost on its way to BR1, and reaches BR2.
    sent(sites.hq, second, to=("BR1",), out=tmp_path / "lost", capacity="30MB")
    deliver(sites, second, to=("BR2",), out=tmp_path / "v2")
    third = publish(sites.hq, tmp_path, 3, package)

    together = sites.hq("parcel", "create", third, "--to", "BR1", "--to", "BR2", "--capacity", "30MB", "--dry-run")
    assert together["delta"]["bases"] == [{"package_id": package, "version": 1}]
    alone = sites.hq("parcel", "create", third, "--to", "BR2", "--capacity", "30MB", "--dry-run")
    assert {"package_id": package, "version": 2} in alone["delta"]["bases"]
    parcel = deliver(sites, third, to=("BR1", "BR2"), out=tmp_path / "v3")
    for home in (br1, br2):
        assert held(home, third, tmp_path / f"{home.code}-exported") == digests_of(tmp_path / "month-3")
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    # What was lost still gets there, backwards: from the third month.
    deliver(sites, second, to=("BR1",), out=tmp_path / "late")
    assert held(br1, second, tmp_path / "late-exported") == digests_of(tmp_path / "month-2")


def test_a_version_that_an_arriving_delta_builds_on_is_not_removed(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    parcel, volumes = sent(sites.hq, second, out=tmp_path / "v2", capacity="30MB")
    sites.br("parcel", "receive", "--hold", *volumes)
    refused = sites.br.fails("package", "remove", first, code=3)
    assert refused["code"] == "base-in-use"
    assert parcel in refused["message"]
    sites.br("parcel", "discard", parcel)
    sites.br("package", "remove", first)


def lose(home: Home, package: str) -> None:
    """A site loses a version, as one that is restored from an old backup does: its reports are behind the truth."""
    home("package", "remove", package)


def test_a_base_that_is_gone_is_said_before_the_import_and_comes_by_network(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    parcel, volumes = sent(sites.hq, second, out=tmp_path / "v2", capacity="30MB")
    lose(sites.br, first)
    sites.sync()
    document = sites.br("parcel", "receive", *volumes)
    (awaiting,) = document["parcels"][0]["awaiting"]
    assert f"of {first}, which it builds on" in awaiting
    assert f"not here: {first}" in awaiting
    assert f"courier parcel create {second} --to BR1 --capacity 30000000 --full --supersedes {parcel}" in awaiting
    assert sites.br("parcel", "show", parcel)["state"] == "Held"

    asked = sites.br("parcel", "repair", parcel, "--from-network")
    assert asked["request"]["bytes"] > SIZE
    for _ in range(3):
        sites.sync()
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")


def test_a_base_that_rotted_is_found_by_reading_and_fetched(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    parcel, volumes = sent(sites.hq, second, out=tmp_path / "v2", capacity="30MB")
    sites.sync()
    image = max(sites.br.large_files(), key=lambda path: path.stat().st_size)
    data = bytearray(image.read_bytes())
    data[1_000_000] ^= 1
    image.chmod(0o600)
    image.write_bytes(data)
    before = sites.br.contents()
    document = sites.br("parcel", "receive", *volumes, code=None)
    assert "missing or damaged here" in document["parcels"][0]["awaiting"][0]
    assert sites.br("package", "list")["packages"][0]["version"] == 1
    assert len(sites.br.contents()) == len(before) - 1
    sites.br("parcel", "repair", parcel, "--from-network")
    for _ in range(3):
        sites.sync()
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")


def second_delta(sites: Sites, tmp_path: Path, **options: Any) -> tuple[str, str]:
    """(the second version, a parcel with the delta of it that is built and not written)."""
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    return second, create(sites.hq, second, capacity="30MB", **options)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_patch_that_rotted_in_a_built_parcel_is_said_with_the_command_that_helps(
    sites: Sites, tmp_path: Path, is_gone: bool
) -> None:
    second, parcel = second_delta(sites, tmp_path)
    (patch,) = (sites.hq.path / "parcels" / "out" / parcel / "patches").iterdir()
    data = bytearray(patch.read_bytes())
    data[len(data) // 2] ^= 1
    patch.unlink()
    if not is_gone:
        patch.write_bytes(data)
    anew = f"courier parcel create {second} --to BR1 --capacity 30000000 --supersedes {parcel}"
    assert anew in sites.hq.fails("parcel", "verify", parcel, code=4)["hint"]
    for _ in range(2):
        error = sites.hq.fails("parcel", "write", parcel, "--layout", "folder", "--out", tmp_path / "out", code=4)
        assert anew in error["hint"], error
        sites.hq("parcel", "discard", parcel)
    # It helps.
    again = sites.hq(*anew.split()[1:])["parcel_id"]
    volumes = write(sites.hq, again, "folder", tmp_path / "again")
    sites.hq("parcel", "ship", again)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["parcels"][0]["state"] == "Imported"
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")


def test_a_sender_that_has_lost_a_parcel_answers_with_what_helps(sites: Sites, tmp_path: Path) -> None:
    second, parcel = second_delta(sites, tmp_path)
    volumes = write(sites.hq, parcel, "folder", tmp_path / "v2")
    sites.hq("parcel", "ship", parcel)
    lose(sites.br, f"{second.partition(':')[0]}:1")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.br("parcel", "repair", parcel, "--from-network")
    shutil.rmtree(sites.hq.path / "parcels" / "out" / parcel)
    for _ in range(3):
        sites.sync()
    full = f"courier parcel create {second} --to BR1 --media KIND --full --supersedes {parcel}"
    shown = sites.br("parcel", "show", parcel)
    assert shown["refusal"].endswith(f"everything anew, at HQ1: {full}")
    assert str(sites.hq.path) not in json.dumps(shown)
    assert "HQ1 refused the blocks that were asked for" in sites.br.says("parcel", "show", parcel)
    (waits,) = [one for one in sites.br("status")["waiting"] if one["parcel_id"] == parcel]
    assert (waits["on"], full in waits["what"]) == ("operator", True)
    # It helps; and once it was asked again, the old refusal stands no more.
    sites.br("parcel", "repair", parcel, "--from-network")
    assert sites.br("parcel", "show", parcel)["refusal"] == ""
    again = sites.hq(*full.replace("KIND", "cd74").split()[1:])["parcel_id"]
    volumes = write(sites.hq, again, "folder", tmp_path / "again")
    sites.hq("parcel", "ship", again)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["parcels"][0]["state"] == "Imported"


def test_a_base_that_is_damaged_at_both_ends_is_answered_with_what_helps(sites: Sites, tmp_path: Path) -> None:
    second, parcel = second_delta(sites, tmp_path)
    volumes = write(sites.hq, parcel, "folder", tmp_path / "v2")
    sites.hq("parcel", "ship", parcel)
    first = f"{second.partition(':')[0]}:1"
    lose(sites.br, first)
    for path in sites.hq.large_files():
        if (data := path.read_bytes()) == month(1)["same.iso"]:
            path.chmod(0o600)
            path.write_bytes(data[:-1] + b"x")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.br("parcel", "repair", parcel, "--from-network")
    for _ in range(3):
        sites.sync()
    full = f"courier parcel create {second} --to BR1 --capacity 30000000 --full --supersedes {parcel}"
    assert sites.br("parcel", "show", parcel)["refusal"].endswith(f"everything anew, at HQ1: {full}")


def test_a_delta_says_why_it_is_not_imported_package_by_package(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    (tmp_path / "other.bin").write_bytes(noise(1_500_000, seed=9))
    other = add(sites.hq, tmp_path / "other.bin", name="Other")
    _, volumes = sent(sites.hq, second, other, out=tmp_path / "v2", capacity="863KB", redundancy="none")
    sites.sync()
    said = sites.br.says("parcel", "receive", "--progressive", volumes[0])
    assert "a delta is imported whole" in said
    assert "a delta is imported whole" not in sites.br.says("parcel", "receive", "--progressive", *volumes)


def test_two_deltas_that_cross_and_one_that_comes_twice_do_no_harm(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    package = first.partition(":")[0]
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second, third = publish(sites.hq, tmp_path, 2, package), publish(sites.hq, tmp_path, 3, package)
    _, earlier = sent(sites.hq, second, out=tmp_path / "v2", capacity="30MB")
    _, later = sent(sites.hq, third, out=tmp_path / "v3", capacity="30MB")
    _, again = sent(sites.hq, third, out=tmp_path / "v3-again", capacity="30MB")
    sites.sync()
    for volumes in (later, earlier, again, later):
        sites.br("parcel", "receive", *volumes)
    for version, month_number in ((second, 2), (third, 3)):
        assert held(sites.br, version, tmp_path / version) == digests_of(tmp_path / f"month-{month_number}")
    sites.sync()


def test_a_base_that_is_swapped_between_check_and_use_makes_nothing(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    parcel, volumes = sent(sites.hq, second, out=tmp_path / "v2", capacity="30MB")
    sites.sync()
    image = max(sites.br.large_files(), key=lambda path: path.stat().st_size)
    good, check = image.read_bytes(), DeltaImport.check_bases

    def swap(self: DeltaImport) -> None:
        check(self)
        image.chmod(0o600)
        image.write_bytes(good[:1_000_000] + b"\0" + good[1_000_001:])

    before = sites.br("package", "list")
    with monkeypatch.context() as patched:
        patched.setattr(DeltaImport, "check_bases", swap)
        sites.br("parcel", "receive", *volumes, code=None)
    assert sites.br("package", "list") == before
    image.write_bytes(good)
    sites.br("parcel", "import", parcel)
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")


def test_a_sender_builds_only_on_what_it_is_told_is_held(sites: Sites, tmp_path: Path) -> None:
    """Neither the same content in a package of somebody else's nor a guessed version is any use to it."""
    secret = add(sites.br, *sorted(tree(tmp_path, 1).iterdir()), name="Secret")
    package, _, version = secret.partition(":")
    site = open_site(sites.br.path)
    stored = find_package(site, secret)
    content = next(e for e in site.store.entries(stored.listing) if isinstance(e, FileEntry) and e.size > 100_000)
    base = PackageRef(package=package, version=int(version), listing=stored.listing.sha256)
    needed = [(content.sha256, content.size)]

    def looked(base: PackageRef) -> HeldBases:
        return HeldBases(site, cast(PackingList, SimpleNamespace(source="HQ1", bases=[base])), tmp_path, needed)

    assert looked(base).missing() == needed
    assert [(one.held, one.base.package) for one in looked(base).unusable] == [(True, package)]
    sites.br("package", "offer", secret, "--to", "HQ1")
    assert looked(base).missing() == []
    assert looked(PackageRef(package=package, version=9, listing=base.listing)).missing() == needed
    assert looked(PackageRef(package=package, version=1, listing="0" * 64)).missing() == needed


def test_a_content_that_has_nothing_of_the_one_that_is_held_travels_whole(sites: Sites, tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(noise(300_000, seed=11))
    deliver(sites, add(sites.hq, tmp_path / "image.bin", name="One"), to=("BR1",), out=tmp_path / "v1")
    (tmp_path / "image.bin").write_bytes(noise(300_000, seed=12))
    other = add(sites.hq, tmp_path / "image.bin", name="Another of that name")
    deliver(sites, other, to=("BR1",), out=tmp_path / "v2")
    assert not list((sites.hq.path / "parcels" / "delta").glob("*.steps"))


def test_full_and_delta_are_the_operators_choice(sites: Sites, tmp_path: Path) -> None:
    first = publish(sites.hq, tmp_path, 1)
    refused = sites.hq.fails("parcel", "create", first, "--to", "BR1", "--capacity", "30MB", "--delta", code=3)
    assert "BR1" in refused["message"]
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    full = sites.hq("parcel", "create", second, "--to", "BR1", "--capacity", "30MB", "--full", "--dry-run")
    assert full["delta"] == {"bases": [], "bytes_saved": 0}
    assert full["bytes"] > SIZE
    text = sites.hq.says("parcel", "create", second, "--to", "BR1", "--capacity", "30MB", "--dry-run")
    assert f"Delta on {first}, which the destinations hold" in text
    # The version itself is sent again in full: whoever sends it again knows that it is not whole there.
    assert sites.hq("parcel", "create", first, "--to", "BR1", "--capacity", "30MB", "--anyway", "again", "--dry-run")[
        "delta"
    ] == {"bases": [], "bytes_saved": 0}

    compared = sites.hq("package", "diff", first, second)
    assert [one["path"] for one in compared["changed"]] == ["image.wim"]
    assert [one["path"] for one in compared["added"]] == ["notes-2.txt"]
    assert [one["path"] for one in compared["gone"]] == ["notes-1.txt"]
    assert compared["same"] == 2
    assert compared["travelling_bytes"] < 10_000 < SIZE < compared["full_bytes"]
    third = publish(sites.hq, tmp_path, 3, first.partition(":")[0])
    moved = sites.hq("package", "diff", second, third)["moved"]
    assert moved == [{"from": "driver.bin", "path": "moved.bin", "bytes": 100_000}]


def test_two_contents_with_the_same_change_share_a_patch(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is put into two images makes the very same new bytes, and so one patch, for both."""
    monkeypatch.setattr("formats.delta.encode.WHOLE_BASE", 0)
    images = {name: noise(700_000, seed=seed) for seed, name in enumerate(("a.img", "b.img"))}
    driver = noise(90_000, seed=9)
    versions: list[str] = []
    for folder, change in ((tmp_path / "before", b""), (tmp_path / "after", driver)):
        folder.mkdir()
        for name, data in images.items():
            (folder / name).write_bytes(data + change)
        more = {"id": versions[0].partition(":")[0]} if versions else {}
        versions.append(add(sites.hq, *sorted(folder.iterdir()), name="Images", **more))
        deliver(sites, versions[-1], to=("BR1",), out=tmp_path / f"out-{len(versions)}")
    made = [path.read_bytes() for path in (sites.hq.path / "parcels" / "delta").glob("*.patch")]
    assert len(made) == 2
    assert made[0] == made[1]
    assert held(sites.br, versions[1], tmp_path / "exported") == digests_of(tmp_path / "after")


def test_a_version_of_which_every_content_is_held_takes_no_archive(sites: Sites, tmp_path: Path) -> None:
    """Files that were only moved: nothing travels but the contents of the parcel; by medium and by network."""
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    for way in ("medium", "network"):
        moved = tmp_path / way
        moved.mkdir()
        for path in (tmp_path / "month-1").iterdir():
            shutil.copy(path, moved / f"{way}-{path.name}")
        version = add(sites.hq, *sorted(moved.iterdir()), name="Image", id=first.partition(":")[0])
        if way == "medium":
            deliver(sites, version, to=("BR1",), out=tmp_path / "out")
        else:
            sites.hq("parcel", "send", create(sites.hq, version, capacity="30MB"), "--by-network")
            for _ in range(3):
                sites.sync()
        assert held(sites.br, version, tmp_path / f"{way}-exported") == digests_of(moved)


def test_a_base_of_which_the_sender_says_that_it_is_huge_takes_no_memory(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request can name so many blocks; its map alone would be gigabytes. The operator is told what helps."""
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])

    def lines(recipes: Iterable[Recipe]) -> Iterator[bytes]:
        for data in lines_of(recipes):
            rows = [json.loads(line) for line in data.splitlines()]
            rows[0][5][0][1] = 2**53 - 1
            yield from (json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)

    with monkeypatch.context() as lying:
        lying.setattr("courier.sending.delta.lines_of", lines)
        parcel, volumes = sent(sites.hq, second, out=tmp_path / "v2", capacity="30MB")
    sites.sync()
    document = sites.br("parcel", "receive", *volumes)
    (awaiting,) = document["parcels"][0]["awaiting"]
    assert "1 content too large to be asked for): everything anew, at HQ1: courier parcel create" in awaiting
    assert "request" not in sites.br("parcel", "repair", parcel, "--from-network")
    assert sites.br("parcel", "show", parcel)["state"] == "Held"


@pytest.mark.parametrize("kind", [".patch", ".lines"])
def test_a_recipe_that_rotted_after_it_was_planned_is_made_anew(sites: Sites, tmp_path: Path, kind: str) -> None:
    """What was planned is used again by the build: a byte that changes on the disk meanwhile is never signed."""
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    second = publish(sites.hq, tmp_path, 2, first.partition(":")[0])
    sites.hq("parcel", "create", second, "--to", "BR1", "--capacity", "30MB", "--dry-run")
    (planned,) = (path for path in (sites.hq.path / "parcels" / "delta").glob(f"*{kind}") if path.stat().st_size)
    data = bytearray(planned.read_bytes())
    data[-3] ^= 1
    planned.write_bytes(data)
    deliver(sites, second, to=("BR1",), out=tmp_path / "v2")
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")


def test_another_plan_during_a_long_build_does_not_stop_it(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(sites.hq, tmp_path, 1)
    deliver(sites, first, to=("BR1",), out=tmp_path / "v1")
    package = first.partition(":")[0]
    second, third = publish(sites.hq, tmp_path, 2, package), publish(sites.hq, tmp_path, 3, package)
    build = ArchiveBuilder.build

    def slow(self: ArchiveBuilder, *arguments: Any) -> list[BuiltArchive]:
        sites.hq("package", "diff", first, third)
        return build(self, *arguments)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(ArchiveBuilder, "build", slow)
        parcel = create(sites.hq, second, capacity="30MB")
    assert not list((sites.hq.path / "parcels" / "out" / parcel / "patches").glob("*.lines"))
    volumes = write(sites.hq, parcel, "folder", tmp_path / "v2")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    assert held(sites.br, second, tmp_path / "exported") == digests_of(tmp_path / "month-2")
