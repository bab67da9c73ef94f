"""The restore script of every volume gives the packages back, with Python's standard library and stock tools."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from restore_parcels import (
    CREATED,
    SECOND,
    TREES,
    Archiver,
    Sent,
    Tree,
    envelope,
    our_archive,
    send,
    stock_archive,
)
from restore_runs import SCRIPT, WHOLE, copied_script, expected, found, restored, run
from stock import stock_tool

import formats.restore
from formats.codecs import CODECS, Codec
from formats.digest import sha256_hex
from formats.documents import label, packing
from formats.documents.packing import TableRef, archive_path


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return copied_script(tmp_path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "archive",
    [our_archive, stock_archive("-mx0"), stock_archive("-mx5", "-ms=off")],
    ids=["ours", "stock stored", "stock LZMA2"],
)
def test_packages_come_back_from_the_volumes_alone(tmp_path: Path, script: Path, archive: Archiver) -> None:
    sent = send(tmp_path / "media", archive=archive)
    before = found(tmp_path / "media")
    ran = run(script, "--to", tmp_path / "out", *reversed(sent.volumes))
    assert ran.code == 0, ran.output
    assert restored(tmp_path / "out") == WHOLE
    assert found(tmp_path / "media") == before
    assert "who signed it was not checked" in ran.output


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_members_of_every_codec_come_back(tmp_path: Path, script: Path, codec: Codec) -> None:
    sent = send(tmp_path / "media", codec=codec)
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code == 0, ran.output
    assert restored(tmp_path / "out") == WHOLE


def test_folders_that_mirror_a_tape_will_do(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    for volume in sent.volumes:
        tape = tmp_path / "tapes" / f"{volume.name}.tape"
        tape.mkdir(parents=True)
        for number, path in enumerate(sorted(path for path in volume.rglob("*") if path.is_file())):
            name = path.relative_to(volume).as_posix().replace("/", "+")
            shutil.copy(path, tape / f"{number:05d}-{name}")
    ran = run(script, "--to", tmp_path / "out", tmp_path / "tapes")
    assert ran.code == 0, ran.output
    assert restored(tmp_path / "out") == WHOLE


def test_a_folder_of_volumes_will_do_and_its_name_is_no_pattern(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "[a]*? -o", volumes=3)
    ran = run(script, "--to", "out *", sent.volumes[0].parent.name, cwd=tmp_path)
    assert ran.code == 0, ran.output
    assert restored(tmp_path / "out *") == WHOLE


def test_on_its_volume_the_script_needs_no_volume_named(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", volumes=1)
    shutil.copy(script, sent.volumes[0])
    assert run(sent.volumes[0] / "restore.py", "--to", tmp_path / "out").code == 0
    assert restored(tmp_path / "out") == WHOLE


def test_many_members_need_one_process_an_archive(tmp_path: Path, script: Path) -> None:
    tree: Tree = {f"{n:04d}{'.txt' if n % 50 == 0 else ''}": b"%d\n" % n * 40 for n in range(600)}
    sent = send(tmp_path / "media", {"HQ100001:1": tree}, members=300)
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert restored(tmp_path / "out") == {"HQ100001:1": expected(tree)}


def test_a_parcel_of_nothing_but_empty_files_needs_no_archive(tmp_path: Path, script: Path) -> None:
    tree: Tree = {"a": None, "a/b": b"", "a/c": "b"}
    sent = send(tmp_path / "media", {"HQ100001:1": tree}, volumes=1)
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert restored(tmp_path / "out") == {"HQ100001:1": expected(tree)}


def test_without_a_volume_nothing_is_restored_and_the_volume_named(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", volumes=3)
    ran = run(script, "--to", tmp_path / "out", sent.volumes[0], sent.volumes[2])
    assert ran.code == 4
    assert "volumes MISSING: 2 (of 3)" in ran.output
    assert "courier parcel repair" in ran.output
    assert found(tmp_path / "out") == {}


def test_partial_restores_the_packages_that_are_whole(tmp_path: Path, script: Path) -> None:
    # The members of the second package alone come last.
    sent = send(tmp_path / "media", volumes=30, members=1)
    last = sent.packing.archives[-1]
    sent.volumes[last.volume - 1].joinpath(archive_path(last.number, encrypted=False)).unlink()
    ran = run(script, "--to", tmp_path / "out", tmp_path / "media", "--partial")
    assert ran.code == 4
    assert restored(tmp_path / "out") == {"HQ100001:2": WHOLE["HQ100001:2"]}
    assert re.search("NOT restored: .*HQ1000A0-17", ran.output)
    assert f"archives missing or damaged: {last.number} (of volume {last.volume})" in ran.output


def test_one_package_needs_only_its_volumes(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", volumes=30, members=1)
    shutil.rmtree(sent.volumes[sent.packing.archives[-1].volume - 1])
    volumes = [folder for folder in sent.volumes if folder.exists()]
    assert run(script, "--to", tmp_path / "a", "--package", "HQ100001", *volumes).code == 0
    assert restored(tmp_path / "a") == {"HQ100001:2": WHOLE["HQ100001:2"]}
    assert run(script, "--to", tmp_path / "b", "--package", "HQ100001:2", *volumes).code == 0
    assert restored(tmp_path / "b") == restored(tmp_path / "a")
    assert run(script, "--to", tmp_path / "c", "--package", "HQ1000A0", *volumes).code == 4
    assert run(script, "--to", tmp_path / "d", "--package", "HQ100001:3", *volumes).code == 6


def test_a_good_copy_stands_in_for_a_damaged_one(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    shutil.copytree(tmp_path / "media", tmp_path / "copy")
    damaged = sent.volumes[0] / archive_path(1, encrypted=False)
    flip(damaged)
    flip(sent.volumes[0] / "courier/contents.jsonl.gz")
    ran = run(script, "--to", tmp_path / "out", *sent.volumes, tmp_path / "copy")
    assert ran.code == 0, ran.output
    assert f"damaged: {damaged}" in ran.output
    assert restored(tmp_path / "out") == WHOLE


def test_a_damaged_archive_without_a_good_copy_is_named(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    flip(sent.volumes[0] / archive_path(3, encrypted=False))
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code == 4
    assert "archives missing or damaged: 3 (of volume 1)" in ran.output
    assert "MISSING" not in ran.output
    assert found(tmp_path / "out") == {}


@pytest.mark.parametrize("document", ["packing-list.json", "volume-label.json"])
def test_archives_of_a_volume_with_a_damaged_document_are_used(tmp_path: Path, script: Path, document: str) -> None:
    sent = send(tmp_path / "media")
    flip(sent.volumes[0] / "courier" / document)
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert restored(tmp_path / "out") == WHOLE
    assert run(script, "--to", tmp_path / "none", sent.volumes[0]).code == 4


def test_volumes_of_different_builds_are_refused(tmp_path: Path, script: Path) -> None:
    first = send(tmp_path / "one")
    other = send(tmp_path / "two", {**TREES, "HQ1000A0:17": {**SECOND, "more": b"more"}}, created=CREATED + 1)
    ran = run(script, "--to", tmp_path / "out", first.volumes[0], other.volumes[1])
    assert ran.code == 3
    assert "do not belong together" in ran.output
    assert not (tmp_path / "out").exists()


def test_volumes_of_two_editions_of_one_build_belong_together(tmp_path: Path, script: Path) -> None:
    first = send(tmp_path / "one", volumes=2)
    second = send(tmp_path / "two", volumes=3, edition=2, created=CREATED + 1)
    assert first.packing.build == second.packing.build
    ran = run(script, "--to", tmp_path / "short", first.volumes[0], second.volumes[0])
    assert ran.code == 4
    assert "of 3" in ran.output
    assert run(script, "--to", tmp_path / "out", first.volumes[0], *second.volumes[1:], second.volumes[0]).code == 0
    assert restored(tmp_path / "out") == WHOLE


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "identity.txt"
    subprocess.run([stock_tool("age-keygen"), "-o", path], check=True, capture_output=True)
    return path


def test_an_encrypted_parcel_opens_with_age_and_an_identity(tmp_path: Path, script: Path, identity: Path) -> None:
    def encrypt(path: Path) -> None:
        out = path.with_name(f"{path.name}.age")
        subprocess.run([stock_tool("age"), "-e", "-i", identity, "-o", out, path], check=True)
        path.unlink()

    sent = send(tmp_path / "media", encrypt=encrypt)
    ran = run(script, "--to", tmp_path / "out", *sent.volumes, "--identity", identity)
    assert ran.code == 0, ran.output
    assert restored(tmp_path / "out") == WHOLE

    ran = run(script, "--to", tmp_path / "none", *sent.volumes)
    assert ran.code == 3
    assert "--identity" in ran.output
    stranger = tmp_path / "stranger.txt"
    subprocess.run([stock_tool("age-keygen"), "-o", stranger], check=True, capture_output=True)
    ran = run(script, "--to", tmp_path / "none", *sent.volumes, "--identity", stranger)
    assert ran.code == 3
    assert ran.output.startswith("age does not open the contents with this identity"), ran.output
    ran = run(script, "--to", tmp_path / "none", *sent.volumes, "--identity", tmp_path / "nowhere")
    assert ran.code == 6
    assert ran.output.startswith(f"--identity {tmp_path / 'nowhere'}: there is no such file"), ran.output
    assert found(tmp_path / "none") == {}
    assert "is encrypted" in run(script, "--list", *sent.volumes).output
    assert "HQ1000A0:17" in run(script, "--list", *sent.volumes, "--identity", identity).output


def test_the_list_says_what_there_is_and_what_is_missing(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", volumes=2)
    ran = run(script, "--list", sent.volumes[1])
    assert ran.code == 0
    assert "parcel HQ1-000042 from HQ1 to BR2" in ran.output
    assert "volume 2 of 2 is here" in ran.output
    assert "volumes MISSING: 1 (of 2)" in ran.output
    assert re.search(r"package HQ100001:2 'Image HQ100001:2 \\xfc': 12 files, [\d,]+ bytes", ran.output)


def test_a_target_that_is_in_use_is_refused(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").write_text("mine")
    assert run(script, "--to", used, *sent.volumes).code == 2
    assert run(script, "--to", sent.volumes[0] / "out", *sent.volumes).code == 2
    assert run(script, *sent.volumes).code == 2
    assert [path.name for path in used.iterdir()] == ["mine"]
    assert not (sent.volumes[0] / "out").exists()


def test_what_a_killed_run_has_left_is_no_hindrance(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    left = tmp_path / "out/.partial/HQ100001-2"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert restored(tmp_path / "out") == WHOLE


def test_a_locale_that_has_not_the_names_is_told_from_damage(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    for utf8, code in ((0, 1), (1, 0)):
        command = [sys.executable, "-I", "-S", "-X", f"utf8={utf8}", script, "--to", tmp_path / "out", *sent.volumes]
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(list(map(str, command)), capture_output=True, check=False, env=environment)
        assert done.returncode == code, done.stdout
        assert (b"set PYTHONUTF8=1" in done.stdout + done.stderr) == (code == 1)
    assert restored(tmp_path / "out") == WHOLE


def test_where_there_is_no_volume_that_is_said(tmp_path: Path, script: Path) -> None:
    image = tmp_path / "disc.iso"
    image.write_bytes(b"image")
    for place in (image, tmp_path / "nowhere", script.parent):
        assert run(script, "--list", place).code == 6
    assert run(script, "--list").code == 6


def test_a_missing_tool_is_named(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media")
    tools = tmp_path / "tools"
    tools.mkdir()
    ran = run(script, "--to", tmp_path / "a", *sent.volumes, path=str(tools))
    assert ran.code == 3
    assert "7zz" in ran.output
    (tools / "7z").symlink_to(stock_tool("7z"))
    ran = run(script, "--to", tmp_path / "b", *sent.volumes, path=str(tools))
    assert ran.code == 3
    assert "zstd" in ran.output


def test_a_later_format_is_refused(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", alter=lambda lines: [lines[0].replace(b"contents/1", b"contents/2"), *lines[1:]])
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code == 3
    assert found(tmp_path / "out") == {}


def altered(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def alter(lines: list[bytes]) -> list[bytes]:
        assert any(old in line for line in lines)
        return [line.replace(old, new) for line in lines]

    return alter


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'["f","boot/loader.sh"', b'["f","boot/../../../../loose"'),
        (b'["f","boot/loader.sh"', b'["f","/{root}/loose"'),
        (b'["f","again.txt"', b'["f","../again.txt"'),
        (b'["f","tools/readme.txt"', b'["f","tools/loader.sh"'),
        (b'["l","boot/absolute"', b'["l","../absolute"'),
        (b'["d","boot"', b'["m","boot"'),
        (b'["d","boot"', b'["l","boot"'),
        (b'"boot/loader.sh"]', b'"../HQ100001-2/boot/loader.sh"]'),
        (b'"boot/loader.sh"]', b'"boot/../boot/loader.sh"]'),
        (b'"boot/loader.sh"]', b'"/{root}/secret"]'),
        (b'"boot/loader.sh"]', b'"../../../secret"]'),
        (b'"boot/loader.sh"]', b'"boot/absolute"]'),
        (b'"boot/loader.sh"]', b'"drivers/above/secret"]'),
        (b'"boot/loader.sh"]', b'"drivers/above"]'),
        (b'"boot/loader.sh"]', b'"boot"]'),
        (b'"boot/loader.sh"]', b'"shut =0500/sudo =6755"]'),
        (b'"boot/loader.sh"]', b'"drivers/loader"]'),
        (b'"boot/loader.sh"]', b'""]'),
        (b'"boot/loader.sh"]', b'["boot/loader.sh"]]'),
        (b'"package":"HQ100001"', b'"package":"../../HQ"'),
        (b'"package":"HQ1000A0","version":17', b'"package":"HQ100001","version":2'),
        (b",3200,1000,1000,", b",3200,1001,1000,"),
        (b",3200,1000,1000,", b",3200,-1,1000,"),
        (b",3200,1000,1000,", b',3200,1000,"1000",'),
        (b",493,17,", b",493,16,"),
        (b'["f","boot/loader.sh",1', b'["f","boot/loader.sh","x1'),
        (b'["f","boot/loader.sh",', b'["f","boot/loader.sh",0,'),
        (b'"store"]', b'"store",0]'),
    ],
)
def test_what_reaches_out_of_its_package_or_makes_no_sense_is_refused(
    tmp_path: Path, script: Path, old: bytes, new: bytes
) -> None:
    new = new.replace(b"{root}", os.fsencode(tmp_path))
    sent = send(tmp_path / "media", alter=altered(old, new))
    (tmp_path / "secret").write_text("of somebody else")
    inside = found(tmp_path)
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code in (1, 4), ran.output
    assert {name: what for name, what in found(tmp_path).items() if name != "out"} == inside
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_a_kind_of_entry_of_a_later_release_is_refused_by_its_name(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", alter=altered(b'["d","boot"', b'["b","boot"'))
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code == 3
    assert "'b'" in ran.output
    assert found(tmp_path / "out") == {}


def test_a_section_of_a_later_release_is_refused_by_its_name(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", alter=lambda lines: [*lines, b'["s","chunks",1]\n', b'["c",1]\n'])
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code == 3
    assert "chunks" in ran.output
    assert found(tmp_path / "out") == {}


def test_no_file_is_written_through_a_link(tmp_path: Path, script: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    def alter(lines: list[bytes]) -> list[bytes]:
        # A file in what the listing says is a link, and the link to where the file would then go.
        return [re.sub(rb'\["d","a/b",(\d+),\d+\]', rb'["l","a/b",\1,"../../../../outside"]', line) for line in lines]

    tree: Tree = {"a": None, "a/b": None, "a/b/c": b"content"}
    sent = send(tmp_path / "media", {"HQ100001:1": tree}, volumes=1, alter=alter)
    assert b'"l","a/b"' in gzip.decompress((sent.volumes[0] / "courier/contents.jsonl.gz").read_bytes())
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code in (1, 4)
    assert found(tmp_path / "out") == {}
    assert found(outside) == {}


def test_source_is_python_3_8_and_of_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 8))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert all(alias.name in sys.stdlib_module_names for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module in ("__future__", "collections.abc", "pathlib", "typing")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from(["", "..", "/", "../../x", "a\0b", "\ud800", "store", "zstd", "0" * 64, "x" * 300]),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sent, list[bytes]]]:
    """A parcel, and the lines of its contents."""
    stock_tool("7z")
    root = tmp_path_factory.mktemp("fuzz")
    sent = send(root / "media", volumes=1, members=30)
    lines = gzip.decompress((sent.volumes[0] / "courier/contents.jsonl.gz").read_bytes()).splitlines(keepends=True)
    yield root, sent, lines


def rewrite(sent: Sent, payload: bytes) -> None:
    number = json.dumps({"number": 1, "packing_list": sha256_hex(payload)}).encode()
    folder = sent.volumes[0] / "courier"
    (folder / "packing-list.json").write_bytes(envelope(payload, packing.TYPE))
    (folder / "volume-label.json").write_bytes(envelope(number, label.TYPE))


def put(value: Any, data: st.DataObject) -> Any:
    """The JSON value with one part of it replaced by junk."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 9)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = data.draw(st.sampled_from(keys))
        value[key] = put(value[key], data)
        return value
    return data.draw(JUNK)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_senseless_documents_end_in_a_refusal(
    fuzzed: tuple[Path, Sent, list[bytes]], capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    root, sent, lines = fuzzed
    target = root / "out"
    shutil.rmtree(target, ignore_errors=True)
    before = sorted(path.name for path in root.iterdir())
    if data.draw(st.booleans()):
        number = data.draw(st.integers(0, len(lines) - 1))
        line = json.dumps(put(json.loads(lines[number]), data)).encode() + b"\n"
        contents = gzip.compress(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        (sent.volumes[0] / "courier/contents.jsonl.gz").write_bytes(contents)
        table = TableRef(size=len(contents), sha256=sha256_hex(contents))
        rewrite(sent, replace(sent.packing, contents=table).payload())
    else:
        rewrite(sent, json.dumps(put(json.loads(sent.packing.payload()), data)).encode())
    with mock.patch.object(sys, "argv", ["restore.py", "--to", str(target), str(sent.volumes[0])]):
        code = formats.restore.main()
    capsys.readouterr()
    assert code in (0, 1, 3, 4, 5)
    assert code == 0 or not target.exists() or list(target.iterdir()) == []
    assert sorted({path.name for path in root.iterdir()} - {"out"}) == before
