"""What docs/formats.md says of the folder of a point is enough to read it: with stock age, HKDF, HMAC and JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from state_samples import MIGRATION, TIME, Bench, full_tree
from stock import stock_tool

from courier.deployment.state_keys import MigrationKeys
from courier.deployment.state_manifest import manifest_rows
from formats.age.bech32 import decode
from formats.documents.state import (
    MANIFEST,
    AnyRow,
    FileRow,
    FolderRow,
    LinkRow,
    NameRow,
    PieceRow,
    ZerosRow,
    escape,
    unescape,
)
from formats.errors import FormatError


class Reader:
    """A reader of one migration that knows docs/formats.md, and nothing of this toolkit but the text of a key."""

    def __init__(self, bench: Bench) -> None:
        self.age = stock_tool("age")
        name = hashlib.sha256(f"courier-state/1 folder {bench.migration}".encode()).hexdigest()[:32]
        (self.folder,) = (path for path in (bench.point / name).iterdir() if len(path.name) == 16)
        own = bench.root / "own.key"
        own.write_text(f"{bench.destination.to_text()}\n")
        text = self.decrypt(self.folder / "key.age", own)
        head, secret = text.decode().splitlines()
        assert head == f"# courier-state/1 {bench.migration}"
        self.key = bench.root / "migration.key"
        self.key.write_bytes(text)
        raw, salt = decode(secret)[1], f"courier-state/1 {bench.migration}".encode()
        self.names, self.records = (
            HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(raw) for info in (b"names", b"records")
        )

    def decrypt(self, path: Path, key: Path | None = None) -> bytes:
        command = [self.age, "-d", "-i", str(key or self.key), str(path)]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def record(self) -> dict[str, object]:
        content = self.decrypt(self.folder / "000001.record.age")
        text, mac = content[:-66], content[-65:-1]
        assert hmac.new(self.records, b"capture\0" + text, "sha256").hexdigest().encode() == mac
        found: dict[str, object] = json.loads(text)
        return found

    def manifest(self) -> list[list[object]]:
        lines = self.decrypt(self.folder / "000001.manifest.age")
        digest = hmac.new(self.records, b"manifest\0" + lines, "sha256").hexdigest()
        assert digest == self.record()["manifest"]
        return [json.loads(line) for line in lines.splitlines()]

    def piece(self, name: str) -> bytes:
        content = self.decrypt(self.folder / "objects" / name[:2] / name)
        assert hmac.new(self.names, content, "sha256").hexdigest() == name
        return content


def test_a_second_reader_gets_every_file_by_the_page_alone(bench: Bench) -> None:
    full_tree(bench.source)
    done = bench.capture()
    reader = Reader(bench)
    record, rows = reader.record(), reader.manifest()
    assert record["format"] == "courier-state-capture/1" and record["rows"] == len(rows)
    assert (record["files"], record["bytes"], record["unread"]) == (done.files, done.bytes, 0)
    files: dict[bytes, bytes] = {}
    last = b""
    for kind, *fields in rows:
        match kind:
            case "f":
                last = re.sub(rb"%([0-9A-F]{2})", lambda m: bytes.fromhex(m[1].decode()), str(fields[0]).encode())
                files[last] = b""
            case "c":
                files[last] += reader.piece(str(fields[1]))
                assert isinstance(fields[0], int)
            case "z":
                assert isinstance(fields[0], int)
                files[last] += bytes(fields[0])
    found = [path for path in bench.source.rglob("*") if path.is_file() and not path.is_symlink()]
    first = [path for path in found if path.name != "second name.txt"]
    assert files == {bytes(path.relative_to(bench.source)): path.read_bytes() for path in first}


@pytest.fixture
def bench(quick: Path, tmp_path: Path) -> Bench:
    folder = quick / f"{tmp_path.name}-format"
    folder.mkdir()
    return Bench.make(folder)


@given(st.binary())
def test_any_bytes_are_spelled_in_one_way(raw: bytes) -> None:
    assert unescape(escape(raw)) == raw


@given(st.text("%0123456789ABCDEFaf\u00e9\udcff", max_size=8))
def test_a_text_is_read_only_where_it_is_the_spelling(text: str) -> None:
    try:
        raw = unescape(text)
    except FormatError:
        return
    assert escape(raw) == text


def _folder(path: str) -> FolderRow:
    return FolderRow(path=path, mode=0o755, uid=0, gid=0, mtime_ns=TIME, implied=0, attributes=())


def _file(path: str, size: int = 0, linked: int = 0) -> FileRow:
    return FileRow(path=path, mode=0o644, uid=0, gid=0, mtime_ns=TIME, size=size, linked=linked, attributes=())


def _link(path: str) -> LinkRow:
    return LinkRow(path=path, target="/etc", uid=0, gid=0, mtime_ns=TIME)


GOOD: list[AnyRow] = [_folder("a"), _file("a/b", 3, 1), ZerosRow(size=3), _link("a/c"), NameRow(path="d", first="a/b")]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([_file("../x")], id="climbs"),
        pytest.param([_file("/x")], id="absolute"),
        pytest.param([_file("a//x")], id="empty component"),
        pytest.param([_file("x%00")], id="NUL"),
        pytest.param([_file("a/x")], id="no folder"),
        pytest.param([_link("a"), _file("a/x")], id="through a link"),
        pytest.param([_folder("a"), _link("a")], id="twice"),
        pytest.param([_file("b"), _file("a")], id="not in order"),
        pytest.param([_folder("a"), _file("b"), _file("a/x")], id="folder left"),
        pytest.param([_file("a", 3), ZerosRow(size=2)], id="too short"),
        pytest.param([_file("a", 3), ZerosRow(size=4)], id="too long"),
        pytest.param([ZerosRow(size=1)], id="no file"),
        pytest.param([_file("a"), NameRow(path="b", first="a")], id="not linked"),
        pytest.param([NameRow(path="b", first="c")], id="no first"),
        pytest.param([_file("a", 1), PieceRow(size=1, digest="../../../etc/passwd")], id="digest"),
        pytest.param([_file("a", 1 << 23), PieceRow(size=1 << 23, digest="0" * 64)], id="piece too large"),
    ],
)
def test_a_manifest_that_makes_no_tree_is_refused(tmp_path: Path, rows: list[AnyRow]) -> None:
    keys = MigrationKeys.make(MIGRATION)

    def read(some: list[AnyRow]) -> list[AnyRow]:
        path = tmp_path / "manifest"
        with path.open("wb") as out, keys.encrypting(out) as encrypted:
            encrypted.write(MANIFEST.encode(some))
        return list(manifest_rows(path, keys))

    assert read(GOOD) == GOOD
    with pytest.raises(FormatError):
        read(rows)
