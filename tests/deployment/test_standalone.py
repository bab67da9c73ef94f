"""Sets of stand-alone media: made, verified, damaged, mixed up, cut off; stock tools read every byte of them."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey import Home, add, noise, run, write_files
from standalone_sets import Made, bios_options, efi_options, images, made_site, sequence_text, verify
from stock import stock_tool

from courier.deployment.standalone import create, point_contents
from courier.deployment.standalone.disc_image import write_image
from courier.deployment.standalone.disc_plan import SizedFile, plan_discs
from courier.distribution.supply import StoreSupply
from courier.errors import NoSpaceError
from courier.files import write_atomic
from formats.age import encrypted_size
from formats.blocks import BLOCK
from formats.documents.deployment import DeploymentPolicy
from formats.documents.listing import write_listing
from formats.documents.standalone import MAX_PIECE, SET, StandaloneSet
from formats.envelope import parse_envelope
from formats.fat import FatLayout
from formats.iso import IsoReader, iso_size
from formats.iso.boot import CATALOG

SMALL = "6MB"
"""A capacity that makes two discs where the loader is small."""


@pytest.fixture(autouse=True)
def _quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work factor of passphrases is one for tests; the long test has the real one."""
    monkeypatch.setattr("formats.age.passphrase.WORK", 6)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_site(tmp_path_factory.mktemp("standalone"))


@pytest.fixture(scope="module")
def tiny(made: Made) -> list[object]:
    """A loader for UEFI that is none really."""
    path = made.root / "bootx64.efi"
    path.write_bytes(b"MZ" + noise(20_000, 9))
    return ["--efi-loader", path]


@pytest.fixture(scope="module")
def two(made: Made, tiny: list[object], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The images of a set of two discs."""
    return images(made.create(tmp_path_factory.mktemp("two"), *tiny, capacity=SMALL))


def _said(*command: object) -> str:
    return subprocess.run([str(one) for one in command], check=True, capture_output=True, text=True).stdout


def _files(image: Path) -> dict[str, bytes]:
    with image.open("rb") as source, IsoReader(source) as reader:
        return {path: reader.open(path).read() for path, _ in reader.files()}


def _list_of(image: Path) -> StandaloneSet:
    return StandaloneSet.parse(parse_envelope(_files(image)[SET]).payload)


def test_stock_tools_agree_with_what_we_wrote(made: Made, tmp_path: Path) -> None:
    document = made.create(tmp_path / "out", *bios_options(), *efi_options())
    one, other = images(document)
    assert [disc["volume"] for disc in document["discs"]] == [one.stem, other.stem]
    assert re.fullmatch(r"HQ1_D0000\d_01", one.stem)
    for image in (one, other):
        assert f"Volume id: {image.stem}" in _said(stock_tool("isoinfo"), "-d", "-i", image)
        assert "No problems found" in _said(stock_tool("sgdisk"), "-v", image)
        assert "Disklabel type: gpt" in _said(stock_tool("fdisk"), "-l", image)
    found = _said(stock_tool("xorriso"), "-indev", f"stdio:{one}", "-report_el_torito", "plain")
    assert re.findall(r"boot img : +\d +(BIOS|UEFI)", found) == ["BIOS", "UEFI"]
    assert "/isolinux/isolinux.bin" in found
    assert "boot-info-table isohybrid-suitable" in found
    # The EFI system partition is a FAT file system with the loader, which is in the tree as well.
    place = re.search(r"iso\d +(\d+) +(\d+) +(\d+).*EFI System", _said(stock_tool("fdisk"), "-l", one))
    assert place is not None
    first, _, count = map(int, place.groups())
    part = tmp_path / "efi.img"
    part.write_bytes(one.read_bytes()[first * 512 : (first + count) * 512])
    _said(stock_tool("fsck.fat"), "-n", part)
    loader = tmp_path / "loader"
    _said(stock_tool("mcopy"), "-i", part, "::/EFI/BOOT/BOOTX64.EFI", loader)
    assert loader.read_bytes() == Path(str(efi_options()[1])).read_bytes() == _files(one)["EFI/BOOT/BOOTX64.EFI"]
    # The second disc starts nothing.
    again = subprocess.run(
        [stock_tool("xorriso"), "-indev", f"stdio:{other}", "-report_el_torito", "plain"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "boot img" not in again.stdout
    assert verify(one, other, "--card", made.card())["missing"] == []


def test_an_image_that_is_cut_over_two_discs_is_put_together_by_cat(made: Made, two: list[Path]) -> None:
    files = [_files(image) for image in two]
    parts = [data for found in files for path, data in sorted(found.items()) if path.endswith(".part")]
    assert len(parts) == 2
    assert len(parts[0]) % BLOCK == 0
    assert b"".join(parts) == noise(6_000_000, 1)
    listed = _list_of(two[0])
    for piece in listed.pieces:
        assert hashlib.sha256(files[piece.disc - 1][piece.path]).hexdigest() == piece.sha256
    assert files[0][SET] == files[1][SET]


def test_a_disc_is_the_folder_of_a_distribution_point(made: Made, tiny: list[object], tmp_path: Path) -> None:
    (image,) = images(made.create(tmp_path / "out", *tiny, capacity="50MB"))
    tree = tmp_path / "tree"
    _said(stock_tool("xorriso"), "-osirrox", "on", "-indev", f"stdio:{image}", "-extract", "/courier/point", tree)
    run(
        "download", made.image.partition(":")[0], "--from", tree, "--card", made.card(), "--to", tmp_path / "got",
        "--priority", "foreground",
    )  # fmt: skip
    assert (tmp_path / "got" / "disk.raw").read_bytes() == noise(6_000_000, 1)


def test_without_a_medium_nothing_is_written_and_one_is_recommended(made: Made, tiny: list[object]) -> None:
    before = made.home.state()
    document = made.home(*made.words(), *tiny)
    assert document["choices"][0]["kind"] == "cd74"
    assert document["recommended"] == {"kind": "cd74", "media": 1, "options": "--media cd74"}
    document = made.home(*made.words(), *tiny, "--layout", "usb")
    assert document["recommended"]["options"] == "--capacity 3800MB"
    document = made.home(*made.words(), *tiny, "--capacity", SMALL, "--dry-run")
    assert [disc["disc"] for disc in document["discs"]] == [1, 2]
    assert made.home.state() == before


def test_damage_is_found_by_block_and_by_file(made: Made, two: list[Path], tmp_path: Path) -> None:
    original = two[0].read_bytes()

    def altered(at: int) -> list[str]:
        data = bytearray(original)
        data[at] ^= 1
        path = tmp_path / two[0].name
        path.write_bytes(data)
        document = verify(path, "--card", made.card(), code=4)
        problems: list[str] = document["discs"][0]["problems"]
        return problems

    assert altered(original.index(noise(6_000_000, 1)[:64]))[0].endswith(".part: damaged block 0")
    assert altered(original.index(b"search --no-floppy")) != []
    assert altered(original.index(noise(300_000, 3)[:64])) == ["boot/vmlinuz differs from its digest"]
    assert "partition table" in altered(512 + 60)[0]
    assert "partition table" in altered(len(original) - 512 + 60)[0]
    assert "boot catalogue" in altered(17 * 2048 + 71)[0] or "boot record" in altered(17 * 2048 + 71)[0]


def test_a_list_that_another_key_signed_is_refused(made: Made, two: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    run("init", "--site", "BR1", "--name", "Branch", "--home", tmp_path / "other" / "BR1")
    error = run("standalone", "verify", two[0], "--home", tmp_path / "other" / "BR1", "--json", code=3).error
    assert error["code"] == "unknown-site"
    data, listed = two[0].read_bytes(), _files(two[0])[SET]
    at = data.index(listed) + listed.index(b'"sig":"') + 20
    (tmp_path / "x.iso").write_bytes(data[:at] + (b"A" if data[at] != 65 else b"B") + data[at + 1 :])
    error = run("standalone", "verify", tmp_path / "x.iso", "--card", made.card(), "--json", code=3).error
    assert error["code"] == "bad-signature"


def test_a_set_of_a_key_that_was_revoked_since_is_refused(tiny: list[object], tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    other = made_site(tmp_path / "lost")
    (image,) = images(other.create(tmp_path / "out", *tiny, capacity="50MB"))
    other.home("site", "rotate-key", "--lost")
    assert (
        run("standalone", "verify", image, "--home", other.home.path, "--json", code=3).error["code"] == "revoked-key"
    )


def test_missing_foreign_and_doubled_discs_are_told_apart(
    made: Made, two: list[Path], tiny: list[object], tmp_path: Path
) -> None:
    assert verify(two[1], "--card", made.card())["missing"] == [1]
    (foreign, _) = images(made.create(tmp_path / "out", *tiny, capacity=SMALL))
    card = ("--card", made.card(), "--json")
    error = run("standalone", "verify", two[0], foreign, *card, code=3).error
    assert error["code"] == "mixed-volume"
    assert two[0].stem in error["hint"]
    assert "again" in run("standalone", "verify", two[0], two[0], *card, code=3).error["message"]
    plain = tmp_path / "plain.iso"
    plain.write_bytes(bytes(100_000))
    assert run("standalone", "verify", plain, *card, code=3).error["code"] == "not-a-volume"


def test_the_passphrase_covers_everything_but_what_boots(made: Made, tiny: list[object], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("three little words\nnot this line\n")
    pair = images(made.create(tmp_path / "out", *tiny, "--passphrase-file", words, capacity=SMALL))
    whole = b"".join(image.read_bytes() for image in pair)
    for secret in (noise(6_000_000, 1)[:32], noise(70_000, 2)[:32], b"Put the image", b"install-driver", b"a" * 40):
        assert secret not in whole
    assert noise(300_000, 3) in whole
    card = ("--card", made.card())
    assert verify(*pair, *card)["decrypted"] is False
    assert verify(*pair, *card, "--passphrase-file", words)["decrypted"] is True
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("three little word\n")
    error = run("standalone", "verify", pair[0], *card, "--passphrase-file", wrong, "--json", code=3).error
    assert error["code"] == "wrong-passphrase"
    # The key opens every piece by the stock tool.
    from formats.age.passphrase import decrypt_secret

    files = _files(pair[0]) | _files(pair[1])
    key = tmp_path / "key.txt"
    key.write_bytes(decrypt_secret(files["courier/key.age"], "three little words"))
    plain = b""
    for path in sorted(path for path in files if path.startswith("courier/pieces/")):
        (tmp_path / "piece.age").write_bytes(files[path])
        plain += subprocess.run(
            [stock_tool("age"), "-d", "-i", key, tmp_path / "piece.age"], check=True, capture_output=True
        ).stdout
    assert noise(6_000_000, 1) in plain


def test_every_content_is_read_twice_and_every_listing_written_once(
    made: Made, tiny: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "words"
    words.write_text("correct horse\n")
    opened: Counter[str] = Counter()
    open_content, written = StoreSupply.open_content, []

    def count(self: StoreSupply, sha256: str) -> BinaryIO:
        opened[sha256] += 1
        return open_content(self, sha256)

    def write(entries: Any, out: BinaryIO) -> Any:
        written.append(out.name)
        return write_listing(entries, out)

    monkeypatch.setattr(StoreSupply, "open_content", count)
    monkeypatch.setattr(point_contents, "write_listing", write)
    made.create(tmp_path / "out", *tiny, "--passphrase-file", words, capacity="64MB")
    assert opened and set(opened.values()) == {2}
    assert len(written) == len(set(written))


def test_every_set_that_was_made_stands_in_a_list(made: Made, tiny: list[object], tmp_path: Path) -> None:
    before = [one["set"] for one in made.home("standalone", "list")["sets"]]
    first = made.create(tmp_path / "out", *tiny, "--valid-to", "2099-01-01T00:00", capacity="64MB")["set"]
    made.create(tmp_path / "none", *tiny, capacity="1MB", code=5)
    found = made.home("standalone", "list")["sets"]
    assert [one["set"] for one in found] == [*before, first]
    text = found[-1]["text"]
    assert f"1 medium of kind drive in {tmp_path / 'out'}" in text
    assert made.image in text and made.drivers in text and "refuses to run from 2099-01-01T00:00Z on" in text
    assert text in made.home.says("standalone", "list")


def test_a_stick_is_a_gpt_with_one_fat32_partition(made: Made, tiny: list[object], tmp_path: Path) -> None:
    (image,) = images(made.create(tmp_path / "out", *tiny, "--layout", "usb", capacity="60MB"))
    assert image.suffix == ".img"
    assert "No problems found" in _said(stock_tool("sgdisk"), "-v", image)
    assert re.search(r"img1 +2048 .*EFI System", _said(stock_tool("fdisk"), "-l", image))
    part = tmp_path / "part"
    data = image.read_bytes()
    part.write_bytes(data[1 << 20 : len(data) - 33 * 512])
    assert "32 bit entries" in _said(stock_tool("fsck.fat"), "-nv", part)
    got = tmp_path / "got"
    _said(stock_tool("mcopy"), "-s", "-i", part, "::courier", got)
    content = [path for path in (got / "point" / "content").rglob("*") if path.is_file()]
    assert any(path.read_bytes() == noise(6_000_000, 1) for path in content)
    _said(stock_tool("mcopy"), "-i", part, "::EFI/BOOT/BOOTX64.EFI", tmp_path / "loader")
    assert (tmp_path / "loader").read_bytes() == (made.root / "bootx64.efi").read_bytes()
    assert verify(image, "--card", made.card())["discs"][0]["problems"] == []
    # A stick that is larger than the image.
    image.write_bytes(data + bytes(1 << 20))
    assert verify(image, "--card", made.card())["discs"][0]["problems"] == []


def test_a_set_in_a_folder_is_what_the_client_deploys(made: Made, two: list[Path], tmp_path: Path) -> None:
    to = tmp_path / "set"
    run("standalone", "extract", *two, "--card", made.card(), "--to", to)
    contents = [path for path in (to / "point" / "content").rglob("*") if path.is_file()]
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in contents} == {path.name for path in contents}
    assert noise(6_000_000, 1) in [path.read_bytes() for path in contents]
    assert (to / "card.json").read_bytes() == made.card().read_bytes()
    policy = DeploymentPolicy.parse(parse_envelope((to / "policy.json").read_bytes()).payload)
    assert (policy.computer, policy.option, policy.sequence) == (None, "run-from-point", made.sequence.read_text())
    card = ("--card", made.card(), "--json")
    assert (
        "was not given" in run("standalone", "extract", two[0], *card, "--to", tmp_path / "x", code=6).error["message"]
    )
    assert run("standalone", "extract", *two, *card, "--to", to, code=2).error["code"] == "target-exists"
    data = bytearray(two[1].read_bytes())
    data[data.index(noise(6_000_000, 1)[-64:])] ^= 1
    bad = tmp_path / two[1].name
    bad.write_bytes(data)
    error = run("standalone", "extract", two[0], bad, *card, "--to", tmp_path / "x", code=4).error
    assert "is damaged" in error["message"]
    assert not (tmp_path / "x").exists()
    assert not list(tmp_path.glob(".courier-tmp-*"))


@pytest.mark.parametrize("when", ["image", "back", "placing", "switch"])
def test_a_set_is_replaced_only_by_a_whole_one(
    made: Made, tiny: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    out = tmp_path / "out"
    old = images(made.create(out, *tiny, capacity=SMALL))
    (out / "mine.txt").write_text("of the operator")
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if when == "image":
            patch.setattr(create, "write_image", _second_time(write_image, killed))
        elif when == "back":
            patch.setattr(create, "_read_back", killed)
        elif when == "placing":
            patch.setattr(create, "sync_folder", killed)
        else:
            patch.setattr(create, "write_atomic", _second_time(write_atomic, killed))
        # A kill does not tidy up either.
        patch.setattr(create, "_tidy", lambda _: None)
        made.home.ran(*made.words(), *tiny, "--capacity", SMALL, "--out", out, code=8)
    for name, data in before.items():
        assert (out / name).read_bytes() == data
    assert verify(*old, "--card", made.card())["missing"] == []
    new = images(made.create(out, *tiny, capacity=SMALL))
    assert not any(path.exists() for path in old)
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == sorted(
        [*(path.name for path in new), "mine.txt", "set.json"]
    )
    assert not list(out.glob(".courier-tmp-*"))


def _second_time(usual: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    calls: list[int] = []

    def call(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        return (usual if len(calls) < 2 else then)(*arguments, **more)

    return call


def test_no_room_is_told_before_anything_is_written(
    made: Made, tiny: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import courier.files

    monkeypatch.setattr(courier.files, "free_space", lambda _: 70_000_000)
    error = made.home.fails(*made.words(), *tiny, "--capacity", SMALL, "--out", tmp_path / "out", code=5)
    assert "70,000,000" in error["message"]
    assert not list((tmp_path / "out").glob("*.iso"))


def _sequence(made: Made, text: str) -> Made:
    path = made.root / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"
    path.write_text(text)
    return Made(home=made.home, root=made.root, image=made.image, drivers=made.drivers, boot=made.boot, sequence=path)


def _refused(home: Home, *words: object, code: int = 3) -> str:
    error = home.fails(*words, code=code)
    return f"{error['message']} -> {error['hint']}"


def test_steps_that_media_cannot_serve_are_all_named_at_once(made: Made, tiny: list[object]) -> None:
    more = """
[[step]]
type = "capture-state"
name = "Files of the user"
include = ["home/**"]

[[step]]
type = "install-driver"
name = "By model"
variable = "DriverPackage"
to = "drivers"
"""
    other = _sequence(made, sequence_text(made.image, made.drivers, more=more))
    said = _refused(made.home, *other.words(), *tiny)
    assert "step 3 (Files of the user)" in said
    assert "variable DriverPackage" in said


def test_what_is_not_there_or_not_used_is_refused(made: Made, tiny: list[object]) -> None:
    other = _sequence(made, sequence_text(made.image, "HQ1FFFFF"))
    assert "step 2 (Drivers): package HQ1FFFFF is not in the store" in _refused(
        made.home, *other.words(), *tiny, code=6
    )
    other = _sequence(made, sequence_text(made.drivers, made.drivers))
    assert f"does not use {made.image[:8]}" in _refused(made.home, *other.words(), *tiny)
    words = [made.drivers if word == made.boot else word for word in made.words()]
    assert "is no boot image: it has no kernel" in _refused(made.home, *words, *tiny)
    assert "no boot loader" in _refused(made.home, *made.words())
    assert "too small" in _refused(made.home, *made.words(), *tiny, "--capacity", "2MB", "--dry-run", code=5)
    _refused(made.home, *made.words(), *tiny, "--media", "lto8", code=2)
    _refused(made.home, *made.words(), *tiny, "--valid-to", "2020-01-01T00:00", code=2)
    _refused(
        made.home, *made.words(), *tiny, "--valid-from", "2400-01-02T00:00", "--valid-to", "2400-01-01T00:00", code=2
    )


def test_windows_pe_goes_onto_the_disc_as_it_is(made: Made, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "pe", etfsboot_com=noise(4096, 1), efisys_bin=_fat(), boot_wim=noise(100_000, 2))
    (folder / "EFI" / "BOOT").mkdir(parents=True)
    (folder / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(b"MZ")
    boot = add(made.home, folder, name="Windows PE")
    words = [boot if word == made.boot else word for word in made.words()]
    document = made.home(*words, "--capacity", "50MB", "--out", tmp_path / "out")
    (image,) = images(document)
    found = _said(stock_tool("xorriso"), "-indev", f"stdio:{image}", "-report_el_torito", "plain")
    assert re.findall(r"boot img : +\d +(BIOS|UEFI) +y +none +0x0000 +0x00 +(\d+)", found) == [
        ("BIOS", "8"),
        ("UEFI", str(len(_fat()) // 512)),
    ]
    assert _files(image)["sources/boot.wim"] == noise(100_000, 2)
    assert "startnet.cmd" in document["notes"][0]
    assert verify(image, "--card", made.card())["discs"][0]["problems"] == []


def _fat() -> bytes:
    return b"\0" * 510 + b"\x55\xaa" + bytes(1440 * 1024 - 512)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40 * BLOCK), min_size=1, max_size=60),
    capacity=st.integers(8 * BLOCK, 60 * BLOCK),
    layout=st.sampled_from(["iso", "usb"]),
    encrypted=st.booleans(),
)
def test_a_plan_covers_every_byte_once_and_every_disc_fits(
    sizes: list[int], capacity: int, layout: Any, encrypted: bool
) -> None:
    files = [SizedFile(path=f"content/{n % 7:02x}/{n:064x}", size=size) for n, size in enumerate(sizes)]
    boot = [SizedFile(path="boot/vmlinuz", size=BLOCK)]
    if layout == "usb":
        capacity += 40 * BLOCK  # the least that FAT32 takes
    try:
        plan = plan_discs(files, boot=boot, policy=3000, capacity=capacity, layout=layout, encrypted=encrypted)
    except NoSpaceError:
        assert capacity < 8 * BLOCK or sum(sizes) > 40 * capacity
        return
    covered = dict.fromkeys(range(len(files)), 0)
    for piece in plan.pieces:
        assert piece.offset == covered[piece.file]
        assert piece.offset % BLOCK == 0
        assert piece.size <= MAX_PIECE
        covered[piece.file] += piece.size
    assert covered == dict(enumerate(sizes))
    for disc in range(1, plan.discs + 1):
        here = [(f"courier/pieces/{n:06d}.part", one.size) for n, one in enumerate(plan.pieces) if one.disc == disc]
        here += [(f"courier/{name}", 20_000) for name in ("set.json", "card.json", "blocks.bin", "contents.json")]
        if disc == 1:
            here.append(("boot/vmlinuz", BLOCK))
        if layout == "iso":
            assert iso_size([*here, (CATALOG, 2048)]) <= capacity
        else:
            assert FatLayout(here, kind=32).size <= capacity


@pytest.mark.parametrize("layout", ["iso", "usb"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_file_of_more_than_4_gib_is_cut_for_fat32_and_iso(layout: Any, encrypted: bool) -> None:
    size = (9 << 30) + 12_345
    plan = plan_discs(
        [SizedFile(path="content/ab/install.esd", size=size)],
        boot=[SizedFile(path="boot/vmlinuz", size=BLOCK)],
        policy=3000,
        capacity=30 * 10**9,
        layout=layout,
        encrypted=encrypted,
    )
    assert plan.discs == 1
    assert sum(piece.size for piece in plan.pieces) == size
    on_disc = [encrypted_size(piece.size, 1) if encrypted else piece.size for piece in plan.pieces]
    assert len(on_disc) == 3
    assert max(on_disc) <= MAX_PIECE < (4 << 30) - 1


def test_a_file_that_has_the_name_of_an_image_is_not_replaced(made: Made, tiny: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (first,) = images(made.create(out, *tiny, capacity=SMALL))[:1]
    number = int(first.name.split("_")[1].removeprefix("D"))
    mine = out / first.name.replace(f"{number:05d}", f"{number + 1:05d}")
    mine.write_text("of the operator")
    _refused(made.home, *made.words(), *tiny, "--capacity", SMALL, "--out", out, code=3)
    assert mine.read_text() == "of the operator" and first.exists()
    mine.unlink()
    made.create(out, *tiny, capacity=SMALL)
