"""Bad input on the journey: each kind gets a clear error with place and remedy, and nothing half-done."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, get_args

import pytest
from journey import (
    FIXTURES,
    SMALL,
    Home,
    Sites,
    add,
    create,
    decrypted,
    describe_tree,
    digest_of,
    environment,
    introduce,
    make_home,
    make_sites,
    noise,
    sent,
    shrinking_noise,
    write,
    write_files,
)

import courier.files
import courier.packages.add
import courier.packages.survey
import courier.parcel.recipes
import courier.receiving.import_facts
import courier.sending.archive_builder
import courier.sending.build
import courier.sending.drives
import courier.sending.plan
import courier.site.store.folder
import formats.archive.writer
import formats.documents.contents
import formats.documents.fields
import formats.documents.listing
import formats.names
from courier.files import RESERVE
from courier.media.reading import LAYOUTS, Layout
from formats.archive import Member
from formats.archive.header import Columns
from formats.archive.view import ArchiveView, Span
from formats.documents.contents import MemberRecord
from formats.documents.listing import Entry, FileEntry, HardLinkEntry, LinkEntry
from formats.records import changed
from formats.records.declare import Check


@contextlib.contextmanager
def nothing_changes(*homes: Home) -> Iterator[None]:
    """Store and catalogue of the homes are the same after the block, row by row and byte by byte."""
    before = [home.state() for home in homes]
    yield
    assert [home.state() for home in homes] == before
    for home in homes:
        assert leftovers(home) == []


@contextlib.contextmanager
def store_stays(home: Home) -> Iterator[None]:
    """The store and its packages are the same after the block (what arrives may have been noted)."""
    before = home.state()["store"], home("package", "list")
    yield
    assert (home.state()["store"], home("package", "list")) == before
    assert leftovers(home) == []


def leftovers(home: Home) -> list[str]:
    """Temporary names below a home."""
    return [str(path) for path in home.path.rglob(".courier-tmp-*")]


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """HQ1 and BR1, pinned and reachable."""
    return make_sites(tmp_path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """A parcel of several volumes in every layout, shipped; its notice has come to BR1."""
    sites = make_sites(tmp_path_factory.mktemp("base"))
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.qcow2")
    parcel = create(sites.hq, package, compress="none", redundancy="none")
    for layout in LAYOUTS:
        write(sites.hq, parcel, layout, sites.root / layout)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    return sites


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A receiver of its own, and its own copy of the volumes of ``HQ1-000001`` in one layout."""

    home: Home
    volumes: list[Path]

    def restore(self, base: Sites) -> None:
        """Put the volumes back as they were."""
        for path in self.volumes:
            source = base.root / path.parent.name / path.name
            _remove(path)
            _copy(source, path)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def arrive(base: Sites, root: Path, layout: Layout) -> Arrived:
    """See `Arrived`."""
    shutil.copytree(base.br.path, root / "BR1")
    shutil.copytree(base.root / layout, root / layout)
    return Arrived(home=Home(code="BR1", path=root / "BR1"), volumes=sorted((root / layout).iterdir()))


@pytest.fixture(params=LAYOUTS)
def arrived(request: pytest.FixtureRequest, base: Sites, tmp_path: Path) -> Arrived:
    """`Arrived`, in every layout."""
    return arrive(base, tmp_path, request.param)


@pytest.fixture
def in_folders(base: Sites, tmp_path: Path) -> Arrived:
    """`Arrived`, in plain folders."""
    return arrive(base, tmp_path, "folder")


def data_file(volume: Path) -> Path:
    """The file of a volume that holds its payload: the image itself, or the largest file."""
    if volume.is_file():
        return volume
    return max((path for path in volume.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def change(path: Path, at: int) -> None:
    """Alter one byte."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))


# Unknown site or package, no trust, no address


@pytest.mark.parametrize("command", [("site", "show", "XX1"), ("channel", "address", "add", "XX1", "/tmp")])
def test_unknown_site(sites: Sites, command: tuple[str, ...]) -> None:
    with nothing_changes(sites.hq):
        error = sites.hq.fails(*command, code=6)
    assert "XX1" in error["message"]
    assert "courier site trust" in error["hint"]


def test_unknown_destination(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    with nothing_changes(sites.hq):
        error = sites.hq.fails("parcel", "create", package, "--to", "XX1", "--media", "dvd5", code=3)
    assert error["code"] == "unknown-site"
    assert "XX1" in error["message"]
    assert "courier site trust" in error["hint"]


@pytest.mark.parametrize(
    "command",
    [
        ("package", "show", "HQ1000FF"),
        ("package", "verify", "HQ1000FF"),
        ("package", "remove", "HQ1000FF"),
        ("package", "export", "HQ1000FF", "--to", "/nowhere/out"),
        ("parcel", "create", "HQ1000FF", "--to", "BR1", "--media", "dvd5"),
        ("parcel", "create", "HQ100001:2", "--to", "BR1", "--media", "dvd5"),
    ],
    ids=" ".join,
)
def test_unknown_package(sites: Sites, command: tuple[str, ...]) -> None:
    add(sites.hq, FIXTURES / "boot.wim")
    with nothing_changes(sites.hq):
        error = sites.hq.fails(*command, code=6)
    assert error["code"] == "not-found"
    assert command[2] in error["message"]
    assert "courier package list" in error["hint"]


@pytest.mark.parametrize(
    "command",
    [("write", "--layout", "iso", "--out", "/nowhere"), ("ship",), ("show",), ("log",), ("import",), ("discard",)],
    ids=lambda command: command[0],
)
def test_unknown_parcel(sites: Sites, command: tuple[str, ...]) -> None:
    verb, *options = command
    with nothing_changes(sites.hq):
        error = sites.hq.fails("parcel", verb, "HQ1-000077", *options, code=6)
    assert "HQ1-000077" in error["message"]
    assert "courier parcel list" in error["hint"]


def test_no_address_for_the_destination(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    sites.hq("channel", "address", "remove", "BR1", sites.root / "share")
    with nothing_changes(sites.hq):
        error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--media", "dvd5", code=3)
    assert error["code"] == "no-address"
    assert "BR1" in error["message"]
    assert "courier channel address add BR1" in error["hint"]
    parcel = create(sites.hq, package, anyway="no line to the ship yet")
    assert "no line to the ship yet" in sites.hq.says("parcel", "log", parcel)


def test_no_trust_in_the_destination_any_more(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    sites.hq("site", "revoke", "BR1", "--reason", "key stolen")
    with nothing_changes(sites.hq):
        error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--media", "dvd5", code=3)
    assert error["code"] == "revoked-site"
    assert "key stolen" in error["message"]


# Space


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["build", "dry-run"])
def test_a_medium_too_small_for_one_archives_overhead(sites: Sites, more: tuple[str, ...]) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    with nothing_changes(sites.hq):
        error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--capacity", "50KB", *more, code=5)
    assert error["code"] == "medium-too-small"
    assert "50,000" in error["message"]
    assert "larger medium" in error["hint"]
    assert list((sites.hq.path / "parcels" / "out").iterdir()) == []


def test_a_medium_too_small_for_the_archives_that_were_built(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), capacity="5MB", compress="none")
    with nothing_changes(sites.hq):
        error = sites.hq.fails(
            *("parcel", "write", parcel, "--layout", "iso", "--out", sites.root / "m", "--capacity", "900KB"), code=5
        )
    assert error["code"] == "medium-too-small"
    assert "900,000" in error["message"]
    assert not (sites.root / "m").exists()


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the bytes that seem free on every disk."""

    def set_free(count: int) -> None:
        for module in (
            courier.files,
            courier.sending.drives,
            courier.receiving.import_facts,
            courier.site.store.folder,
        ):
            monkeypatch.setattr(module, "free_space", lambda _: count)

    return set_free


def files_below(folder: Path) -> set[str]:
    """Every file below a folder, but locks."""
    return {str(path) for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "catalogue.sqlite")}


@pytest.mark.parametrize("step", ["add", "create", "write", "export"])
def test_no_space_at_the_sender_is_said_before_the_first_byte(
    sites: Sites, free: Callable[[int], None], step: str
) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package, compress="none")
    commands: dict[str, tuple[object, ...]] = {
        "add": ("package", "add", FIXTURES / "boot.wim", FIXTURES / "disk.raw", "--name", "More"),
        "create": ("parcel", "create", package, "--to", "BR1", "--capacity", "2MB", "--compress", "none"),
        "write": ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "m"),
        "export": ("package", "export", package, "--to", sites.root / "out"),
    }
    # Of our own disk some is left free; a drive that volumes are written to may be filled.
    free(500_000 if step == "write" else RESERVE + 500_000)
    before = files_below(sites.root)
    with nothing_changes(sites.hq):
        error = sites.hq.fails(*commands[step], code=5)
    assert files_below(sites.root) - before <= {str(p) for p in sites.hq.path.glob("catalogue.sqlite-*")}
    assert error["code"] == "no-space"
    assert str(sites.root) in error["message"]
    assert re.search(r"\d bytes|no room for \d of \d volumes", error["message"])
    assert re.search(r"free|another", error["hint"])
    free(1 << 40)
    sites.hq(*commands[step])


def test_space_for_parity_and_for_what_is_compressed_on_its_way_is_reckoned_with(
    sites: Sites, free: Callable[[int], None]
) -> None:
    package = add(sites.hq, FIXTURES / "disk.raw")
    plain = ("parcel", "create", package, "--to", "BR1", "--capacity", "20MB", "--dry-run", "--redundancy")
    archives, parity = (sites.hq(*plain, redundancy)["bytes"] for redundancy in ("none", "fill"))
    assert parity > archives
    for redundancy, least in (("none", archives), ("fill", parity)):
        free(RESERVE + least - 10_000)
        command = ("parcel", "create", package, "--to", "BR1", "--capacity", "20MB", "--redundancy", redundancy)
        assert sites.hq.fails(*command, code=5)["code"] == "no-space"
    assert sites.hq("parcel", "list")["sent"] == []


def test_no_space_at_the_receiver_for_compressed_plus_expanded_is_said_before_the_first_byte(
    sites: Sites, free: Callable[[int], None]
) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.raw")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "m")
    sites.sync()
    archives = sum(volume["bytes"] for volume in sites.hq("parcel", "write", parcel, "--dry-run", "--layout", "iso",
                                                          "--out", sites.root)["volumes"])  # fmt: skip
    shown = sites.hq("package", "show", package)
    expanded = shown["bytes"] - shown["bytes_in_holes"]  # whether disk.raw has holes depends on who copied it
    free(archives + expanded + RESERVE - 1)
    before = files_below(sites.br.path)
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", volumes[0], code=5)
    assert files_below(sites.br.path) - before <= {str(p) for p in sites.br.path.glob("catalogue.sqlite-*")}
    assert f"{archives + expanded:,} bytes" in error["message"]
    assert str(sites.br.path) in error["message"]
    # All at once they are not copied, so there needs to be no room for the archives.
    free(expanded + RESERVE - 1)
    with nothing_changes(sites.br):
        sites.br.fails("parcel", "receive", *volumes, code=5)
    free(expanded + RESERVE)
    assert len(sites.br("parcel", "receive", *volumes)["imported"]) == 1


def limited(home: Home, size: int, *arguments: object, code: int) -> dict[str, Any]:
    """A command in a process that cannot write a file past ``size`` bytes, as on a disk that fills up meanwhile."""
    command = [sys.executable, "-m", "courier", *map(str, arguments), "--home", str(home.path), "--json", "--yes"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode == code, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_done(sites: Sites) -> None:
    # Compressed it is over the limit too.
    files = write_files(sites.root / "files", image=shrinking_noise(3_000_000))
    with nothing_changes(sites.hq):
        assert limited(sites.hq, 2_000_000, "package", "add", files, "--name", "X", code=5)["error"]["hint"]
    package = add(sites.hq, files)
    command = ("parcel", "create", package, "--to", "BR1", "--capacity", "6MB")
    assert limited(sites.hq, 2_000_000, *command, code=5)["error"]["code"] == "no-space"
    assert [one["state"] for one in sites.hq("parcel", "list")["sent"]] == ["Planned"]
    parcel = sites.hq(*command)["parcel_id"]
    for layout in LAYOUTS:
        out = sites.root / layout
        ran = limited(sites.hq, 2_000_000, "parcel", "write", parcel, "--layout", layout, "--out", out, code=5)
        assert f"writing HQ1_000001_V001: the disk of {out} takes no file so large" in ran["error"]["message"]
        assert list(out.iterdir()) == []
        assert sites.hq("parcel", "show", parcel)["state"] in ("Built", "Written")
        write(sites.hq, parcel, layout, out)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    with store_stays(sites.br):
        limited(sites.br, 2_000_000, "parcel", "receive", sites.root / "iso", code=5)
    assert sites.br("parcel", "receive", sites.root / "iso", "--hold")["state"] == "Held"
    with store_stays(sites.br):
        limited(sites.br, 2_000_000, "parcel", "import", parcel, code=5)
    assert len(sites.br("parcel", "import", parcel)["imported"]) == 1


# Volumes


def test_what_is_no_volume(sites: Sites) -> None:
    files = write_files(sites.root / "files", a_iso=b"no image", b_txt=b"text")
    for path, code, exit_code in (
        (sites.root / "nothing", "not-found", 6),
        (files / "b.txt", "not-a-volume", 2),
        (sites.root / "share", "not-a-volume", 2),
        (files / "a.iso", "unreadable", 4),
    ):
        with nothing_changes(sites.br):
            error = sites.br.fails("parcel", "receive", path, code=exit_code)
        assert error["code"] == code
        assert str(path) in error["message"]


def test_another_disc_that_is_no_volume(sites: Sites) -> None:
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", FIXTURES / "bootable.iso", code=3)
    assert error["code"] == "not-a-volume"
    assert "bootable.iso" in error["message"]


def test_a_volume_of_another_parcel_counts_for_that_parcel_alone(sites: Sites) -> None:
    first = add(sites.hq, FIXTURES / "boot.wim")
    second = add(sites.hq, FIXTURES / "disk.qcow2")
    _, ones = sent(sites.hq, first, out=sites.root / "m1", compress="none", redundancy="none")
    other, twos = sent(sites.hq, second, out=sites.root / "m2", compress="none", redundancy="none")
    sites.sync()
    document = sites.br("parcel", "receive", ones[0], twos[0])
    assert {status["parcel_id"] for status in document["parcels"]} == {"HQ1-000001", other}
    assert document["parcels"][0]["missing_volumes"] == list(range(2, len(ones) + 1))


def test_an_archive_of_another_parcel_on_a_volume_is_not_taken(sites: Sites) -> None:
    first = add(sites.hq, FIXTURES / "boot.wim")
    second = add(sites.hq, write_files(sites.root / "f", image=noise(600_000)))
    _, ones = sent(sites.hq, first, out=sites.root / "m1", compress="none", capacity="5MB", redundancy="none")
    _, twos = sent(sites.hq, second, out=sites.root / "m2", compress="none", capacity="5MB", redundancy="none")
    sites.sync()
    shutil.copyfile(data_file(twos[0]), data_file(ones[0]))
    with store_stays(sites.br):
        ran = sites.br.ran("parcel", "receive", ones[0], code=4)
    assert ran.document["volumes"][0]["damaged_blocks"] == 1
    assert ran.document["volumes"][0]["bad"][0]["file"].startswith("data/archives/000001.7z")
    assert "HQ1-000001" in ran.error["message"]


def test_a_volume_that_mixes_two_parcels(sites: Sites) -> None:
    first = add(sites.hq, FIXTURES / "boot.wim")
    second = add(sites.hq, FIXTURES / "disk.qcow2")
    _, ones = sent(sites.hq, first, out=sites.root / "m1", capacity="5MB")
    _, twos = sent(sites.hq, second, out=sites.root / "m2", capacity="5MB")
    shutil.copyfile(twos[0] / "courier" / "packing-list.json", ones[0] / "courier" / "packing-list.json")
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", ones[0], code=3)
    assert error["code"] == "mixed-volume"
    assert str(ones[0]) in error["message"]


def test_a_volume_of_another_build_of_the_same_parcel(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    # A sender restored from a backup uses the same parcel ID again.
    shutil.copytree(sites.hq.path, sites.root / "restored")
    restored = Home(code="HQ1", path=sites.root / "restored")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "m1", compress="none")
    again, others = sent(restored, package, out=sites.root / "m2", compress="none")
    assert parcel == again
    sites.br("parcel", "receive", volumes[0])
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", others[1], code=3)
    assert error["code"] == "other-build"
    assert parcel in error["message"]
    assert str(others[1]) in error["message"]
    sites.sync()
    assert len(sites.br("parcel", "receive", *volumes)["imported"]) == 1


def test_a_truncated_volume(base: Sites, arrived: Arrived) -> None:
    path = data_file(arrived.volumes[0])
    os.truncate(path, path.stat().st_size // 2)
    with store_stays(arrived.home):
        ran = arrived.home.ran("parcel", "receive", *arrived.volumes, code=4)
        assert "HQ1" in ran.error["message"]
        assert arrived.home("parcel", "show", "HQ1-000001")["missing_volumes"] == [1]
        assert arrived.home.fails("parcel", "import", "HQ1-000001", code=4)["code"] == "incomplete"
    arrived.restore(base)
    assert len(arrived.home("parcel", "receive", arrived.volumes[0])["imported"]) == 1


def test_an_altered_volume(base: Sites, arrived: Arrived) -> None:
    path = data_file(arrived.volumes[1])
    archive = data_file(base.root / "folder" / arrived.volumes[1].stem).read_bytes()
    change(path, path.read_bytes().index(archive) + 1000)
    with store_stays(arrived.home):
        ran = arrived.home.ran("parcel", "receive", *arrived.volumes, code=4)
        assert "HQ1-000001: 1 block missing or damaged" in ran.error["message"]
        volume = next(volume for volume in ran.document["volumes"] if volume["number"] == 2)
        assert volume["state"] == "Damaged"
        assert volume["damaged_blocks"] == 1
        assert volume["bad"][0]["blocks"] == [[0, 0]]
        assert ran.document["damaged_blocks"] == 1
        assert ran.document["missing_volumes"] == [2]
        assert "data/archives/" in arrived.home.says("parcel", "receive", arrived.volumes[1], code=4)
    arrived.restore(base)
    assert len(arrived.home("parcel", "receive", arrived.volumes[1])["imported"]) == 1


def test_a_missing_volume(arrived: Arrived) -> None:
    with store_stays(arrived.home):
        document = arrived.home("parcel", "receive", *arrived.volumes[:1], *arrived.volumes[2:])
        assert document["missing_volumes"] == [2]
        error = arrived.home.fails("parcel", "import", "HQ1-000001", code=4)
        assert error["code"] == "incomplete"
        assert "HQ1-000001" in error["message"]
        assert "2" in error["hint"]


def test_a_duplicated_volume(arrived: Arrived) -> None:
    first = arrived.volumes[0]
    copy = first.with_name(f"copy-{first.name}")
    _copy(first, copy)
    document = arrived.home("parcel", "receive", first, copy, first)
    assert [volume["state"] for volume in document["volumes"]] == ["Received"] * 3
    assert document["missing_volumes"] == list(range(2, len(arrived.volumes) + 1))
    assert len(arrived.home("parcel", "receive", *arrived.volumes)["imported"]) == 1
    with nothing_changes(arrived.home):
        document = arrived.home("parcel", "receive", copy)
    assert document["state"] == "Imported"
    assert document["imported"] == []


def test_an_archive_missing_from_a_volume(base: Sites, in_folders: Arrived) -> None:
    data_file(in_folders.volumes[0]).unlink()
    with store_stays(in_folders.home):
        ran = in_folders.home.ran("parcel", "receive", *in_folders.volumes, code=4)
    assert ran.document["missing_volumes"] == [1]
    in_folders.restore(base)
    assert len(in_folders.home("parcel", "receive", in_folders.volumes[0])["imported"]) == 1


def test_a_file_more_on_a_volume_is_named_and_not_taken(in_folders: Arrived) -> None:
    stray = in_folders.volumes[0] / "data" / "archives" / "000099.7z.age"
    stray.write_bytes(b"stray")
    document = in_folders.home("parcel", "receive", *in_folders.volumes)
    assert document["volumes"][0]["findings"] == ["data/archives/000099.7z.age is not in the packing list: ignored"]
    assert len(document["imported"]) == 1


def test_media_that_cannot_be_written_to(arrived: Arrived) -> None:
    for volume in arrived.volumes:
        for path in [volume, *volume.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = {str(v): digest_of(data_file(v)) for v in arrived.volumes}
    assert len(arrived.home("parcel", "receive", *arrived.volumes)["imported"]) == 1
    assert {str(v): digest_of(data_file(v)) for v in arrived.volumes} == before
    for volume in arrived.volumes:
        for path in [volume, *volume.rglob("*")]:
            path.chmod(0o755)


# Signatures


def test_a_parcel_of_an_untrusted_site(base: Sites, tmp_path: Path) -> None:
    stranger = make_home(tmp_path, "XX1")
    with nothing_changes(stranger):
        error = stranger.fails("parcel", "receive", base.root / "iso", code=3)
    assert error["code"] == "unknown-site"
    assert "HQ1" in error["message"]
    assert "courier site trust" in error["hint"]


def test_a_parcel_of_a_site_that_was_revoked(arrived: Arrived) -> None:
    arrived.home("site", "revoke", "HQ1", "--reason", "laptop stolen")
    with nothing_changes(arrived.home):
        error = arrived.home.fails("parcel", "receive", *arrived.volumes, code=3)
    assert error["code"] == "revoked-site"
    assert "laptop stolen" in error["message"]


def test_a_parcel_signed_by_another_key_than_the_pinned_sites(base: Sites, tmp_path: Path) -> None:
    victim, impostor = make_home(tmp_path, "BR1"), make_home(tmp_path, "HQ1")
    introduce(tmp_path, victim, impostor)
    with nothing_changes(victim):
        error = victim.fails("parcel", "receive", base.root / "folder", code=3)
    assert error["code"] == "unknown-key"
    assert str(base.root / "folder" / "HQ1_000001_V") in error["message"]
    assert "HQ1" in error["hint"]


def test_an_altered_packing_list(in_folders: Arrived) -> None:
    volume = in_folders.volumes[0]
    path = volume / "courier" / "packing-list.json"
    envelope = json.loads(path.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    altered = payload.replace(b'"priority":"medium"', b'"priority":"mediuM"')
    assert altered != payload
    path.write_bytes(path.read_bytes().replace(envelope["payload"].encode(), base64.b64encode(altered)))
    with nothing_changes(in_folders.home):
        error = in_folders.home.fails("parcel", "receive", volume, code=3)
    assert error["code"] == "bad-signature"
    assert str(volume) in error["message"]
    assert "packing-list.json" in error["message"]
    # The packing list that its signed label names stands in for it, once another volume has brought that.
    in_folders.home("parcel", "receive", in_folders.volumes[1])
    document = in_folders.home("parcel", "receive", *in_folders.volumes)
    assert "packing-list.json is damaged or altered" in document["volumes"][0]["findings"][0]
    assert len(document["imported"]) == 1


def test_a_damaged_packing_list_of_one_volume_is_had_from_another(in_folders: Arrived) -> None:
    volume = in_folders.volumes[0]
    (volume / "courier" / "packing-list.json").write_bytes(b"{scratched")
    with nothing_changes(in_folders.home):
        error = in_folders.home.fails("parcel", "receive", volume, code=4)
    assert "packing-list.json" in error["message"]
    in_folders.home("parcel", "receive", in_folders.volumes[1])
    document = in_folders.home("parcel", "receive", *in_folders.volumes)
    assert "packing-list.json is damaged" in document["volumes"][0]["findings"][0]
    assert len(document["imported"]) == 1


@pytest.mark.parametrize("how", ["scratched", "gone"])
def test_a_volume_whose_label_is_damaged_is_told_by_its_payload(in_folders: Arrived, how: str) -> None:
    for volume in in_folders.volumes:
        label = volume / "courier" / "volume-label.json"
        label.unlink() if how == "gone" else label.write_bytes(b"{\xff" * 50)
    first = in_folders.volumes[0]
    verdict = in_folders.home("parcel", "verify", first, code=4)["volumes"][0]
    assert "by its payload it is volume 1" in verdict["problems"][0]
    assert not any("label" in reason for reason in verdict["reasons"])
    document = in_folders.home("parcel", "receive", first)
    assert (document["state"], document["volumes"][0]["number"]) == ("Arriving", 1)
    assert "restore.py cannot be checked" in document["volumes"][0]["findings"][0]
    assert len(in_folders.home("parcel", "receive", *in_folders.volumes)["imported"]) == 1


def test_a_volume_without_label_and_payload_names_its_label(in_folders: Arrived) -> None:
    volume = in_folders.volumes[0]
    (volume / "courier" / "volume-label.json").unlink()
    shutil.rmtree(volume / "data")
    with nothing_changes(in_folders.home):
        error = in_folders.home.fails("parcel", "receive", volume, code=4)
    assert "volume-label.json is missing" in error["message"]


def test_a_forged_message_is_a_dead_letter_and_nothing_else(sites: Sites) -> None:
    (sites.root / "elsewhere").mkdir()
    impostor = make_home(sites.root / "elsewhere", "HQ1")
    # A card is no secret: whoever has that of BR1 seals to it.
    impostor("site", "trust", sites.root / "BR1.card")
    impostor("channel", "address", "add", "BR1", sites.root / "share")
    sent(impostor, add(impostor, FIXTURES / "boot.wim"), out=sites.root / "m")
    impostor("channel", "sync")
    with store_stays(sites.br):
        document = sites.br("channel", "sync")
    assert document["taken"] == 0
    assert len(document["refused"]) == 4
    assert all("not signed by site HQ1" in item["reason"] for item in document["refused"])
    assert sites.br("parcel", "list")["received"] == []
    assert len(sites.br("channel", "status")["dead_letters"]) == 4


# Media and network disagree


def test_a_layout_that_the_notice_does_not_name_is_of_the_same_build(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, _ = sent(sites.hq, package, out=sites.root / "m1")
    sites.sync()
    # Laid out anew for another medium, and not shipped again: the notice that came names the first packing list.
    sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "m2", "--capacity", "5MB")
    assert sites.br("parcel", "receive", sites.root / "m2")["state"] == "Imported"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_another_build_than_the_notice_names(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    shutil.copytree(sites.hq.path, sites.root / "restored")
    sent(sites.hq, package, out=sites.root / "m1")
    sites.sync()
    _, others = sent(Home(code="HQ1", path=sites.root / "restored"), package, out=sites.root / "m2")
    with store_stays(sites.br):
        error = sites.br.fails("parcel", "receive", *others, code=3)
    assert error["code"] == "notice-disagrees"
    assert "HQ1-000001" in error["message"]


# A sender gone wrong: signed by a trusted key, but not what it should be

Members = list[tuple[Member, Callable[[], BinaryIO]]]


def _more(members: Members) -> Members:
    extra = b"one member more"
    name = "HQ100001-1/zz.bin"
    return [*members, (Member(name=name, size=len(extra), mtime_ns=0), lambda: io.BytesIO(extra))]


def _fewer(members: Members) -> Members:
    return members[:-1]


def _renamed(name: str) -> Callable[[Members], Members]:
    return lambda members: [*members[:-1], (changed(members[-1][0], name=name), members[-1][1])]


def _longer(members: Members) -> Members:
    data = members[-1][1]().read() + b"!"
    return [*members[:-1], (changed(members[-1][0], size=len(data)), lambda: io.BytesIO(data))]


def _other_bytes(members: Members) -> Members:
    size = members[-1][0].size
    return [*members[:-1], (members[-1][0], lambda: io.BytesIO(noise(size, seed=99)))]


def _swapped(members: Members) -> Members:
    return members[::-1]


@contextlib.contextmanager
def rogue(change_members: Callable[[Members], Members] = lambda members: members) -> Iterator[pytest.MonkeyPatch]:
    """While it lasts, archives are composed with changed members, and no name is checked by whoever makes them."""

    def view(
        columns: Columns, *, offsets: Sequence[int], opener: Callable[[int], BinaryIO], at_once: object
    ) -> ArchiveView:
        def content(number: int) -> bytes:
            with opener(number) as source:
                source.seek(offsets[number])
                return source.read(columns.sizes[number])

        assert columns.packed is None
        fields = zip(columns.names, columns.sizes, columns.times_ns, strict=True)
        members = [Member(name=name, size=size, mtime_ns=time) for name, size, time in fields]
        after = change_members([(one, partial(io.BytesIO, content(n))) for n, one in enumerate(members)])
        return ArchiveView(
            [
                Span(member=member, crc32=zlib.crc32(open_one().read()), open=lambda n: after[n][1]())
                for member, open_one in after
            ]
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArchiveView, "of_columns", staticmethod(view))
        for module, check in (
            (formats.archive.writer, "check_member"),
            (formats.documents.listing, "check_path"),
            (courier.packages.survey, "check_path"),
        ):
            patch.setattr(module, check, lambda name, *, place="": name)
        # The documents declare their paths with one check, which the reader of the store calls too.
        judged = next(mark for mark in get_args(formats.documents.fields.Path) if isinstance(mark, Check))
        object.__setattr__(judged, "judge", lambda _: None)
        try:
            yield patch
        finally:
            object.__setattr__(judged, "judge", formats.names.check_path)


def three_files(sites: Sites) -> str:
    """A package of three files that go into one archive, as they are."""
    return add(sites.hq, write_files(sites.root / "f", a=noise(900, 1), b=noise(800, 2), c=noise(700, 3)))


@pytest.mark.parametrize("encrypted", ["encrypt", "no-encrypt"])
@pytest.mark.parametrize(
    ("change_members", "code", "exit_code", "place"),
    [
        (_more, "unexpected-member", 3, "HQ100001-1/zz.bin"),
        (_fewer, "unexpected-member", 3, "HQ100001-1/c"),
        (_renamed("HQ100001-1/d"), "unexpected-member", 3, "HQ100001-1/d"),
        (_renamed("HQ100001-1/C"), "unexpected-member", 3, "HQ100001-1/C"),
        (_longer, "unexpected-member", 3, "HQ100001-1/c"),
        (_swapped, "unexpected-member", 3, "HQ100001-1/c"),
        (_other_bytes, "digest-mismatch", 4, "HQ100001-1/c"),
        (_renamed("../evil"), "illegal-name", 3, "../evil"),
        (_renamed("HQ100001-1/../../evil"), "illegal-name", 3, "../../evil"),
        (_renamed("/tmp/evil"), "illegal-name", 3, "/tmp/evil"),
        (_renamed("C:\\evil"), "illegal-name", 3, "C:"),
        (_renamed("..\\evil"), "illegal-name", 3, "evil"),
        (_renamed("HQ100001-1/aux.txt"), "illegal-name", 3, "aux.txt"),
    ],
    ids=[
        *("one-more", "one-fewer", "other-name", "other-case", "other-size", "other-order", "other-bytes"),
        *("climbing", "climbing-inside", "absolute", "drive-letter", "backslash", "device"),
    ],
)
def test_an_archive_with_other_members_than_listed(
    sites: Sites, change_members: Callable[[Members], Members], code: str, exit_code: int, place: str, encrypted: str
) -> None:
    package = three_files(sites)
    with rogue(change_members):
        parcel, volumes = sent(sites.hq, package, out=sites.root / "m", encrypt=encrypted == "encrypt")
    sites.sync()
    outside = {*sites.root.iterdir(), *sites.root.parent.iterdir()}
    with store_stays(sites.br):
        error = sites.br.fails("parcel", "receive", *volumes, code=exit_code)
    assert error["code"] == code
    assert parcel in error["message"]
    assert place in error["message"]
    assert sites.br("parcel", "show", parcel)["state"] != "Imported"
    with store_stays(sites.br):
        sites.br.fails("parcel", "import", parcel, code=exit_code)
    assert {*sites.root.iterdir(), *sites.root.parent.iterdir()} == outside


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "CON"])
def test_a_climbing_member_name_in_archive_and_contents_alike(sites: Sites, name: str) -> None:
    package = three_files(sites)
    real = courier.sending.archive_builder.member_records

    def records(archive: Any, sizes: Any) -> list[MemberRecord]:
        found = real(archive, sizes)
        return [*found[:-1], changed(found[-1], name=name)]

    with rogue(_renamed(name)) as patch:
        patch.setattr(courier.sending.build, "member_records", records)
        _, volumes = sent(sites.hq, package, out=sites.root / "m")
    sites.sync()
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "illegal-name"
    assert "contents of HQ1-000001: contents.archives[1][2].name" in error["message"]


def packaged(sites: Sites, entries: Sequence[Entry]) -> str:
    """A package of the sender with this listing, whatever is wrong with it; all its files have the bytes ``evil``."""
    (sites.root / "evil file").write_bytes(b"evil")

    def read(_tree: object, take: Callable[[BinaryIO], object], **_: object) -> Iterator[Entry]:
        take(io.BytesIO(b"evil"))
        yield from entries

    with rogue() as patch:
        patch.setattr(courier.packages.add, "read_tree", read)
        patch.setattr(formats.documents.listing.ListingCheck, "add_entry", _add_unchecked)
        return add(sites.hq, sites.root / "evil file")


def evil(path: str) -> FileEntry:
    return FileEntry(path=path, mtime_ns=0, mode=0o4777, size=4, sha256=hashlib.sha256(b"evil").hexdigest())


def _add_unchecked(self: Any, entry: Any) -> None:
    self._entries += 1
    self._files += isinstance(entry, FileEntry)
    self._bytes += getattr(entry, "size", 0)


def sent_unchecked(sites: Sites, package: str) -> list[Path]:
    with rogue() as patch:
        patch.setattr(formats.documents.listing.ListingCheck, "add_entry", _add_unchecked)
        _, volumes = sent(sites.hq, package, out=sites.root / "m")
    sites.sync()
    return volumes


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", ".."])
def test_a_climbing_path_in_a_package(sites: Sites, name: str) -> None:
    volumes = sent_unchecked(sites, packaged(sites, [evil(name)]))
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "illegal-name"
    assert "HQ100001:1[0]" in error["message"]


def test_a_file_below_a_link_in_a_package(sites: Sites) -> None:
    (sites.root / "outside").mkdir()
    link = LinkEntry(path="d", mtime_ns=0, target=str(sites.root / "outside"))
    volumes = sent_unchecked(sites, packaged(sites, [link, evil("d/evil")]))
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", *volumes, code=4)
    assert "d/evil: its folder is not listed" in error["message"]
    assert list((sites.root / "outside").iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "problem", "code"),
    [
        ([HardLinkEntry(path="a", first="b"), evil("b")], "no file with a further name stands at 'b'", 4),
        (
            [LinkEntry(path="a", mtime_ns=0, target="/a"), HardLinkEntry(path="b", first="a"), evil("c")],
            "no file with",
            4,
        ),
        ([evil("a"), HardLinkEntry(path="b", first="../../etc/shadow")], "'..' component", 3),
        ([evil("a"), HardLinkEntry(path="b", first="/etc/shadow")], "absolute", 3),
    ],
    ids=["later", "of-a-link", "climbing", "absolute"],
)
def test_a_hard_link_to_what_is_no_file_of_the_package(
    sites: Sites, entries: list[Entry], problem: str, code: int
) -> None:
    volumes = sent_unchecked(sites, packaged(sites, entries))
    with nothing_changes(sites.br):
        error = sites.br.fails("parcel", "receive", *volumes, code=code)
    assert problem in error["message"]


def test_links_that_leave_the_package_are_data_and_nothing_goes_through_them(sites: Sites) -> None:
    outside = write_files(sites.root / "outside", precious=b"precious")
    source = write_files(sites.root / "f", a=noise(900))
    for name, target in (("folder", outside), ("file", outside / "precious"), ("climbing", "../outside/precious")):
        (source / name).symlink_to(target)
    before = {path: path.stat() for path in (outside, outside / "precious")}

    def is_untouched() -> bool:
        return all(
            (path.stat().st_ctime_ns, path.stat().st_atime_ns) == (info.st_ctime_ns, info.st_atime_ns)
            for path, info in before.items()
        ) and os.listdir(outside) == ["precious"]  # noqa: PTH208 (it tells names)

    document = sites.hq("package", "add", source, "--name", "X")
    assert document["links_outside"] == 3
    package = f"{document['package_id']}:1"
    _, volumes = sent(sites.hq, package, out=sites.root / "m", encrypt=False)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["imported"]
    export = sites.br("package", "export", package, "--to", sites.root / "out")
    assert export["links_outside"] == 3
    says = sites.br.says("package", "export", package, "--to", sites.root / "again")
    assert "Links that lead out of the package: 3; nothing here followed them." in says
    sites.br("package", "export", package, "--as", sites.root / "x.7z")
    sites.br("package", "verify", package)
    restore: list[str | Path] = [sys.executable, volumes[0] / "restore.py", "--to", sites.root / "restored", *volumes]
    subprocess.run(restore, check=True, capture_output=True)
    assert is_untouched()
    described = describe_tree(source)
    assert describe_tree(sites.root / "out") == described
    assert describe_tree(sites.root / "restored" / "HQ100001-1") == described


def another(sites: Sites, package: str, data: bytes) -> Home:
    """The sender restored from a backup, where the same ID and version was given to other content."""
    restored = Home(code="HQ1", path=sites.root / "restored")
    shutil.copytree(sites.hq.path, restored.path)
    restored("package", "remove", package)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("courier.packages.add.choose_number", lambda *_: ("HQ100001", 1))
        assert add(restored, write_files(sites.root / "restored files", a=data)) == package
    return restored


def test_a_definition_of_other_content_than_the_notice_names(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "f", a=b"first"))
    restored = another(sites, package, b"other")
    _, volumes = sent(sites.hq, package, out=sites.root / "m1")
    sites.sync(sites.hq)
    box = sites.root / "share" / "BR1"
    right = next(path for path in box.iterdir() if "courier.package" in decrypted(sites.br, path)["payloadType"])
    right.rename(sites.root / right.name)
    sent(restored, package, out=sites.root / "m2", capacity="5MB")
    restored("channel", "sync")
    sites.br("channel", "sync")
    with store_stays(sites.br):
        error = sites.br.fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "definition-disagrees"
    assert "HQ100001:1" in error["message"]
    # Whatever order they come in: the one that the notice names counts.
    (sites.root / right.name).rename(right)
    assert len(sites.br("channel", "sync")["imported"]) == 1


def test_a_version_that_the_store_holds_with_other_content(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "f", a=b"first"))
    _, volumes = sent(sites.hq, package, out=sites.root / "m1")
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["imported"]
    sites.hq("package", "remove", package)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("courier.packages.add.choose_number", lambda *_: ("HQ100001", 1))
        add(sites.hq, write_files(sites.root / "g", a=b"other"))
        # A sender that does not remember what it signed, or does not care.
        for module in ("vouched", "definitions"):
            patch.setattr(f"courier.packages.{module}.is_contradicted", lambda *_: False)
        _, others = sent(sites.hq, package, out=sites.root / "m2", capacity="5MB")
    sites.sync()
    with store_stays(sites.br):
        error = sites.br.fails("parcel", "receive", *others, code=3)
    assert error["code"] == "version-conflict"
    assert package in error["message"]
    # The same site signed both: neither is used until a person has found out which is right.
    error = sites.br.fails("package", "export", package, "--to", sites.root / "out", code=3)
    assert error["code"] == "definition-disagrees"


def test_content_that_went_bad_in_the_senders_store_never_leaves_it(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    (stored,) = sites.hq.large_files()
    change(stored, 1000)
    error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--capacity", SMALL, code=4)
    assert "boot.wim" in error["message"]
    assert "courier package verify" in error["hint"]
    assert [one["state"] for one in sites.hq("parcel", "list")["sent"]] == ["Planned"]


def test_an_archive_that_went_bad_on_the_senders_disk_is_not_written(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), compress="none")
    (content,) = sites.hq.large_files()
    change(content, 1000)
    for layout in LAYOUTS:
        error = sites.hq.fails("parcel", "write", parcel, "--layout", layout, "--out", sites.root / layout, code=4)
        assert error["code"] == "build-damaged"
        assert "000001.7z" in error["message"]
        assert list((sites.root / layout).iterdir()) == []


def test_a_block_that_went_bad_on_the_receivers_disk_is_asked_for_again(arrived: Arrived) -> None:
    arrived.home("parcel", "receive", *arrived.volumes, "--hold")
    spool = next((arrived.home.path / "parcels" / "in").glob("HQ1-000001-*")) / "archives"
    change(sorted(spool.glob("*.7z.age"))[0], 5000)
    with store_stays(arrived.home):
        error = arrived.home.fails("parcel", "import", "HQ1-000001", code=4)
    assert error["code"] == "spool-damaged"
    assert "HQ1-000001" in error["message"]
    assert arrived.home("parcel", "show", "HQ1-000001")["missing_volumes"] == [1]
    document = arrived.home("parcel", "receive", arrived.volumes[0])
    if document["state"] == "Held":
        document = arrived.home("parcel", "import", "HQ1-000001")
    assert len(document["imported"]) == 1
