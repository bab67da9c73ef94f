"""Repair requests and parts: one encoding each, out of their bytes as they went in, and nothing else out of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.documents.repair import MAX_BLOCKS, FileBlocks, RepairPart, RepairRequest, file_blocks
from formats.errors import FormatError, MalformedError

SHA = "ab" * 32
WANTED = st.sets(st.tuples(st.integers(1, 300), st.integers(0, MAX_BLOCKS - 1)), min_size=1, max_size=50)


def request(wanted: set[tuple[int, int]]) -> RepairRequest:
    return RepairRequest(
        parcel="HQ1-000042", build=SHA, site="BR1", source="HQ1", issued_ns=10**18, files=file_blocks(wanted)
    )


def part(wanted: set[tuple[int, int]], data: bytes) -> RepairPart:
    return RepairPart(
        parcel="HQ1-000042",
        build=SHA,
        source="HQ1",
        site="BR1",
        issued_ns=10**18,
        request=SHA,
        part=2,
        of=3,
        files=file_blocks(wanted),
        data=data,
    )


@given(WANTED)
def test_ranges_name_the_very_blocks(wanted: set[tuple[int, int]]) -> None:
    asked = request(wanted)
    assert {(file.archive, block) for file in asked.files for block in file.blocks()} == wanted
    assert asked.count == len(wanted)
    assert RepairRequest.parse(asked.payload()) == asked


@given(WANTED, st.binary(max_size=200))
def test_a_part_comes_out_of_its_bytes_as_it_went_in(wanted: set[tuple[int, int]], data: bytes) -> None:
    one = part(wanted, data)
    parsed = RepairPart.parse(one.payload())
    assert parsed == one
    assert parsed.payload() == one.payload()


def test_every_byte_of_a_request_altered_or_removed_is_refused_or_read_as_what_it_says() -> None:
    good = request({(1, 0), (1, 1), (3, 7)}).payload()
    damaged = [good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :] for at in range(len(good)) for mask in (1, 32)]
    damaged += [good[:at] + good[at + 1 :] for at in range(len(good))]
    for payload in damaged:
        try:
            parsed = RepairRequest.parse(payload)
        except FormatError:
            continue
        assert parsed != RepairRequest.parse(good) or b'"' in payload


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_part_cut_short_or_longer_is_refused(cut: int) -> None:
    payload = part({(1, 0)}, b"data!").payload()
    for bad in (payload[:-cut], payload + b"x" * cut, payload.replace(b"\n", b""), b"", b"\n"):
        with pytest.raises(FormatError):
            RepairPart.parse(bad)


@pytest.mark.parametrize(
    "spans",
    [(), ((1, 0),), ((0, 1), (2, 3)), ((5, 6), (1, 2)), ((1, 3), (3, 4)), ((0, MAX_BLOCKS),)],
)
def test_ranges_have_one_spelling(spans: tuple[tuple[int, int], ...]) -> None:
    bad = RepairRequest(
        parcel="HQ1-000042",
        build=SHA,
        site="BR1",
        source="HQ1",
        issued_ns=0,
        files=(FileBlocks(archive=1, spans=spans),),
    )
    with pytest.raises(MalformedError):
        RepairRequest.parse(bad.payload())


def test_the_example_of_the_formats_page() -> None:
    asked = request({(3, 0), (3, 1), (3, 2), (3, 9), (7, 4)})
    assert asked.payload() == (
        b'{"build":"' + SHA.encode() + b'","files":[{"archive":3,"blocks":[0,2,9,9]},{"archive":7,"blocks":[4,4]}],'
        b'"format":"courier-repair-request/1","from":"BR1","issued":"2001-09-09T01:46:40.000000000Z",'
        b'"parcel":"HQ1-000042","to":["HQ1"]}'
    )
    one = part({(3, 0), (3, 1)}, b"blocks")
    assert one.payload() == (
        b'{"build":"' + SHA.encode() + b'","bytes":6,"files":[{"archive":3,"blocks":[0,1]}],'
        b'"format":"courier-repair-part/1","from":"HQ1","issued":"2001-09-09T01:46:40.000000000Z","of":3,'
        b'"parcel":"HQ1-000042","part":2,"request":"' + SHA.encode() + b'","to":["BR1"]}\nblocks'
    )
