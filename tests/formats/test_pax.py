"""PAX archives as tarfile reads them: large numbers, times before 1970, and sizes that are known beforehand."""

from __future__ import annotations

import io
import stat
import tarfile

import pytest

from formats.errors import DigestMismatchError, IllegalNameError
from formats.pax import PaxMember, PaxWriter, archive_size, member_size

FILE = stat.S_IFREG | 0o640


def read(*members: tuple[PaxMember, bytes]) -> list[tarfile.TarInfo]:
    """The members that tarfile finds in an archive; its size must be the one that was foretold."""
    out = io.BytesIO()
    writer = PaxWriter(out)
    for member, content in members:
        writer.add(member, io.BytesIO(content))
    writer.close()
    assert len(out.getvalue()) == archive_size(sum(member_size(member) for member, _ in members))
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        return archive.getmembers()


def test_an_archive_has_the_size_that_was_foretold() -> None:
    found = read(
        (PaxMember(path=b"a", mode=FILE, mtime_ns=0, size=5), b"hello"),
        (PaxMember(path=b"b" * 300, mode=FILE, mtime_ns=7, uid=9_999_999, attributes={"user.x": b"\0\xff="}), b""),
        (PaxMember(path=b"s", mode=FILE, mtime_ns=0, size=9000, data=((4096, 10),)), bytes(4096) + b"d" * 10),
        (PaxMember(path=b"h", mode=FILE, mtime_ns=0, size=9000, data=()), b""),
        (PaxMember(path=b"l", mode=FILE, mtime_ns=0, same=b"a"), b""),
    )
    assert [info.size for info in found] == [5, 0, 9000, 9000, 0]
    assert found[1].uid == 9_999_999
    sparse: object = found[2].sparse
    assert sparse == [(4096, 10), (9000, 0)]
    assert found[4].islnk()


@pytest.mark.parametrize(
    ("mtime_ns", "text"), [(-1, "-0.000000001"), (-1_500_000_000, "-1.500000000"), (1, "0.000000001")]
)
def test_times_have_nanoseconds_before_1970_too(mtime_ns: int, text: str) -> None:
    (info,) = read((PaxMember(path=b"a", mode=FILE, mtime_ns=mtime_ns), b""))
    assert info.pax_headers["mtime"] == text


def test_a_file_of_more_than_8_gib_has_its_size() -> None:
    out = io.BytesIO()
    PaxWriter(out).add(PaxMember(path=b"a", mode=FILE, mtime_ns=0, size=9 << 30))
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        info = archive.next()
    assert info is not None
    assert info.size == 9 << 30


def test_what_no_archive_holds_is_refused() -> None:
    for path in (b"", b"a\0b"):
        with pytest.raises(IllegalNameError):
            PaxWriter(io.BytesIO()).add(PaxMember(path=path, mode=FILE, mtime_ns=0))
    with pytest.raises(DigestMismatchError):
        PaxWriter(io.BytesIO()).add(PaxMember(path=b"a", mode=FILE, mtime_ns=0, size=5), io.BytesIO(b"hell"))
