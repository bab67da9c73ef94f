"""Bags: every volume is one, and stock tools say so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stock import stock_tool

from formats.bag import DECLARATION, MANIFEST, TAG_MANIFEST, BagFile, manifest, tag_files
from formats.digest import sha256_hex
from formats.errors import MalformedError

PAYLOAD = {
    "data/archives/000001.7z": b"archive one",
    "data/archives/000002.7z.age": b"",
    "data/parity/000001.par": bytes(range(256)) * 5,
}
OTHERS = {"packing-list.json": b"{}", "RESTORE.txt": "So geht's: Übung\n".encode(), "tools/restore.py": b"pass\n"}
INFO = {
    "Source-Organization": "Zentrale Köln (HQ1)",
    "Bag-Group-Identifier": "HQ1-000042",
    "Bag-Count": "3 of 9",
    "External-Identifier": "HQ1_000042_V003",
    "Empty": "",
}


def listed(files: dict[str, bytes]) -> list[BagFile]:
    return [BagFile(path=path, size=len(data), sha256=sha256_hex(data)) for path, data in files.items()]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    tags = tag_files(payload=listed(PAYLOAD), info=INFO, others=listed(OTHERS))
    for path, data in {**PAYLOAD, **OTHERS, **tags}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    return tmp_path


def test_the_bagit_tool_finds_a_volume_complete_and_valid(bag: Path) -> None:
    bagit = pytest.importorskip("bagit")
    found = bagit.Bag(str(bag))
    assert found.validate()
    assert found.version_info == (1, 0)
    assert {name: found.info[name] for name in INFO} == INFO
    assert found.info["Payload-Oxum"] == "1291.3"
    assert set(found.payload_entries()) == set(PAYLOAD)
    assert set(found.entries) - set(found.payload_entries()) == {*OTHERS, "bagit.txt", "bag-info.txt", MANIFEST}


@pytest.mark.parametrize("path", [*PAYLOAD, *OTHERS, "bagit.txt", "bag-info.txt", MANIFEST])
def test_the_bagit_tool_finds_every_altered_file(bag: Path, path: str) -> None:
    bagit = pytest.importorskip("bagit")
    data = (bag / path).read_bytes()
    (bag / path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if data else b"x")
    with pytest.raises((bagit.BagValidationError, bagit.BagError)):
        bagit.Bag(str(bag)).validate()


def test_sha256sum_checks_a_volume_from_its_manifests(bag: Path) -> None:
    for name in (MANIFEST, TAG_MANIFEST):
        subprocess.run([stock_tool("sha256sum"), "--check", "--strict", "--quiet", name], cwd=bag, check=True)
    (bag / "data/parity/000001.par").write_bytes(b"x")
    done = subprocess.run(
        [stock_tool("sha256sum"), "--check", "--strict", MANIFEST], cwd=bag, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "data/parity/000001.par: FAILED" in done.stdout


def test_tag_files_come_in_the_order_they_are_written_the_tag_manifest_last() -> None:
    tags = tag_files(payload=listed(PAYLOAD), info=INFO, others=listed(OTHERS))
    assert list(tags) == ["bagit.txt", "bag-info.txt", MANIFEST, TAG_MANIFEST]
    assert tags["bagit.txt"] == DECLARATION == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    assert list(entries(tags[MANIFEST])) == list(PAYLOAD)
    assert list(entries(tags[TAG_MANIFEST])) == ["bagit.txt", "bag-info.txt", MANIFEST, *OTHERS]
    assert tag_files(payload=[], info={}, others=[])["bag-info.txt"] == b"Payload-Oxum: 0.0\n"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\u2028b", "a\u0085b", "a\x0cb", "\nPayload-Oxum: 0.0"])
def test_a_value_that_would_begin_another_line_is_refused(text: str) -> None:
    for info in ({"Source-Organization": text}, {text: "x"}):
        with pytest.raises(MalformedError) as caught:
            tag_files(payload=[], info=info, others=[])
        assert caught.value.place == "bag-info.txt"


def test_the_oxum_is_counted_not_given() -> None:
    tags = tag_files(payload=listed(PAYLOAD), info={"Payload-Oxum": "1.1"}, others=[])
    assert tags["bag-info.txt"] == b"Payload-Oxum: 1291.3\n"


paths = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map("/".join)


def entries(data: bytes) -> dict[str, str]:
    """The files that a manifest lists, as RFC 8493 (2.1.3) has them read: path -> SHA-256."""
    lines = data.decode().removesuffix("\n").split("\n")
    pairs = (line.split("  ", 1) for line in lines if line)
    return {path.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%"): digest for digest, path in pairs}


@given(st.dictionaries(paths, st.binary(max_size=10), max_size=5))
@example({"a%0Ab": b""})
@example({"a\nb%\r%25": b""})
@example({"*a": b"", " a": b"", "a  b": b""})
@example({"a\u2028b\x0b\x0c\x1c\x85": b""})
def test_a_manifest_comes_out_of_its_lines_as_it_went_in(files: dict[str, bytes]) -> None:
    assert entries(manifest(listed(files))) == {path: sha256_hex(data) for path, data in files.items()}
