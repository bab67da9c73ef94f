"""Bags: every volume is one, and stock tools say so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stock import stock_tool

from formats.bag import DECLARATION, MANIFEST, MAX_MANIFEST, TAG_MANIFEST, BagFile, manifest, parse_manifest, tag_files
from formats.digest import sha256_hex
from formats.errors import FormatError, IllegalNameError, MalformedError, TooLargeError

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
    assert list(parse_manifest(tags[MANIFEST])) == list(PAYLOAD)
    assert list(parse_manifest(tags[TAG_MANIFEST])) == ["bagit.txt", "bag-info.txt", MANIFEST, *OTHERS]
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


@given(st.dictionaries(paths, st.binary(max_size=10), max_size=5))
@example({"a%0Ab": b""})
@example({"a\nb%\r%25": b""})
@example({"*a": b"", " a": b"", "a  b": b""})
@example({"a\u2028b\x0b\x0c\x1c\x85": b""})
def test_a_manifest_comes_out_of_its_lines_as_it_went_in(files: dict[str, bytes]) -> None:
    assert parse_manifest(manifest(listed(files))) == {path: sha256_hex(data) for path, data in files.items()}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{0}  a\n{0}  a\n", MalformedError),
        ("{0}  ../a\n", IllegalNameError),
        ("{0}  /etc/passwd\n", IllegalNameError),
        ("{0}  data/../../a\n", IllegalNameError),
        ("{0}  a%0A/../b\n", IllegalNameError),
        ("{0}  \n", IllegalNameError),
        ("{0}\n", IllegalNameError),
        ("{0} a\n", IllegalNameError),
        ("\n", IllegalNameError),
        ("abc  a\n", MalformedError),
        ("{0}0  a\n", MalformedError),
        ("{0}  a\n{1}  b\n", MalformedError),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(text: str, error: type[FormatError]) -> None:
    data = ("{0}  first\n" + text).format("0" * 64, "A" * 64).encode()
    with pytest.raises(error) as caught:
        parse_manifest(data)
    assert caught.value.place in (f"{MANIFEST}:2", f"{MANIFEST}:3")


def test_line_ends_of_other_systems_are_read() -> None:
    for end in ("\n", "\r\n", "\r"):
        assert parse_manifest(f"{'0' * 64}  a{end}{'1' * 64}  b{end}".encode()) == {"a": "0" * 64, "b": "1" * 64}
    assert parse_manifest(f"{'0' * 64}  a".encode()) == {"a": "0" * 64}


@given(st.binary(max_size=200))
def test_any_bytes_as_a_manifest_raise_only_our_errors(data: bytes) -> None:
    try:
        parse_manifest(data)
    except FormatError as error:
        assert error.place.startswith(MANIFEST)


def test_a_manifest_beyond_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError):
        parse_manifest(bytes(MAX_MANIFEST + 1))
