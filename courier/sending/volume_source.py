"""What is written on a volume: every file of it, from the signed parcel alone.

A volume that is written again is the same to the byte. The only volume of a parcel carries its documents twice, the
second time after the payload, if there is room: no other volume could replace a damaged one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import make_folder, write_atomic
from courier.media import volume_files as volume
from courier.media.checked_stream import SourceFile
from courier.media.writing import VolumeSource
from courier.parcel.block_table import load_table
from courier.parcel.recipes import ComposedFiles
from courier.parcel.volume_layout import FixedSizes, VolumeSpace
from courier.sending.outgoing_parcel import CARD, CONTENTS, OutgoingParcel
from courier.sending.signed_size import envelope_of_size, sign_sized
from courier.site.home import Site
from formats.bag import BagFile
from formats.blocks import BlockTable
from formats.digest import sha256_hex
from formats.documents import label as label_doc
from formats.documents.label import VolumeLabel
from formats.documents.packing import TableRef
from formats.envelope import parse_envelope, verified_keys
from formats.errors import FormatError


@cache
def restore_script() -> bytes:
    """The stand-alone restore script, as it is put on every volume."""
    return resources.files("formats").joinpath("restore.py").read_bytes()


def fixed_sizes(*, card: int, contents: int) -> FixedSizes:
    """Bytes of what every volume carries; ``card`` and ``contents`` are those of the card and of the contents."""
    return FixedSizes(card=card, script=len(restore_script()), contents=contents)


def fixed_sizes_of(parcel: OutgoingParcel) -> FixedSizes:
    """Bytes of what every volume of ``parcel`` carries."""
    return fixed_sizes(card=(parcel.folder / CARD).stat().st_size, contents=parcel.packing.contents.size)


def volume_source(site: Site, parcel: OutgoingParcel, space: VolumeSpace, composed: ComposedFiles) -> VolumeSource:
    """Everything that is written on the volume of ``space``, in writing order; ``composed``: the parcel's files."""
    packing = parcel.packing
    files = volume_documents(site, parcel, space) + _payload(parcel, composed, space.number)
    files.sort(key=lambda file: volume.writing_order(file.path))
    return VolumeSource(
        label=packing.volume_label(space.number),
        publisher=f"SITE {packing.source}",
        made_ns=packing.created_ns,
        files=tuple(files),
        unit=packing.block_size,
    )


def volume_documents(site: Site, parcel: OutgoingParcel, space: VolumeSpace, *, sign: bool = True) -> list[SourceFile]:
    """Every file of a volume beside its payload. Without ``sign`` nothing is signed: they are only as long then."""
    files = _documents(site, parcel, space, sign=sign)
    others = [BagFile(path=file.path, size=file.size, sha256=file.sha256) for file in files]
    tags = volume.bag_tags(parcel.packing, space.number, others)
    return [*files, *(_from_memory(path, data) for path, data in tags.items())]


def _documents(site: Site, parcel: OutgoingParcel, space: VolumeSpace, *, sign: bool) -> list[SourceFile]:
    """The signed documents, the tables, the restore page and script, and second copies where they have room."""
    packing, folder = parcel.packing, parcel.folder
    text = volume.restore_page(packing, space.number, name=site.settings.name)
    page = _from_memory(volume.RESTORE_TEXT, text.encode())
    script = _from_memory(volume.RESTORE_SCRIPT, restore_script())
    listing = _from_memory(volume.PACKING_LIST, parcel.envelope)
    card = _from_memory(volume.CARD, (folder / CARD).read_bytes())
    contents = _from_disk(volume.contents_path(encrypted=packing.encrypted), folder / CONTENTS, packing.contents)
    blocks = _from_disk(volume.BLOCKS, parcel.blocks(), packing.blocks)
    twice = [listing, contents, blocks] if space.copies else []
    copies = [replace(file, path=volume.copy_path(file.path)) for file in twice]
    unsigned = _label(site, parcel, space.number, [page, script, card, *copies])
    label = (
        _signed_label(site, folder, unsigned) if sign else envelope_of_size(site, unsigned.payload(), label_doc.TYPE)
    )
    # In this order they stand in the tag manifest, which a reader makes again from the label alone.
    return [page, script, listing, card, _from_memory(volume.LABEL, label), contents, blocks, *copies]


def _label(site: Site, parcel: OutgoingParcel, number: int, files: Sequence[SourceFile]) -> VolumeLabel:
    """The label of a volume, with the digests of ``files``: those that the packing list does not name."""
    packing = parcel.packing
    return VolumeLabel(
        parcel=packing.parcel,
        source=packing.source,
        number=number,
        of=packing.volumes,
        packing_list=parcel.sent.packing_list,
        issued_ns=site.signing_time(packing.created_ns),
        tags=tuple((file.path, file.sha256) for file in files),
    )


def _signed_label(site: Site, folder: Path, label: VolumeLabel) -> bytes:
    """The label's envelope, the same each time.

    It is kept: a key that was renewed since would sign otherwise, and ECDSA signs otherwise each time.
    """
    kept = folder / "labels" / f"{label.packing_list[:16]}-{label.number:04d}.json"
    with suppress(FileNotFoundError, FormatError):
        envelope = parse_envelope(kept.read_bytes())
        before = replace(VolumeLabel.parse(envelope.payload), issued_ns=label.issued_ns)
        if before == label and verified_keys(envelope, [key.key for key in site.card.keys]):
            return envelope.encode()
    data = sign_sized(site, label.payload(), label_doc.TYPE).encode()
    write_atomic(make_folder(kept.parent) / kept.name, data)
    return data


def _payload(parcel: OutgoingParcel, composed: ComposedFiles, number: int) -> list[SourceFile]:
    """The archives and parity files of a volume."""
    packing = parcel.packing
    table = _signed_table(parcel)
    return [
        SourceFile(
            path=packing.path(index),
            size=packing.file(index).size,
            sha256=packing.file(index).sha256,
            open=partial(composed.open, index),
            is_good=partial(table.is_good, index),
        )
        for index in packing.on_volume(number)
    ]


def _signed_table(parcel: OutgoingParcel) -> BlockTable:
    """The block table of a parcel, compared with the packing list. Raises `DamagedError`."""
    path, expected = parcel.blocks(), parcel.packing.blocks
    try:
        with path.open("rb") as source:
            good = hashlib.file_digest(source, "sha256").hexdigest() == expected.sha256
        if good:
            return load_table(path, parcel.packing)
    except (FileNotFoundError, FormatError):
        pass
    raise DamagedError(
        f"{path}, the block table of {parcel.packing.parcel}, is missing or differs from what was signed",
        hint="create the parcel anew",
        code=Code.BUILD_DAMAGED,
    )


def _from_memory(path: str, data: bytes) -> SourceFile:
    return SourceFile(path=path, size=len(data), sha256=sha256_hex(data), open=partial(io.BytesIO, data))


def _from_disk(path: str, file: Path, ref: TableRef) -> SourceFile:
    return SourceFile(path=path, size=ref.size, sha256=ref.sha256, open=_opener(file))


def _opener(path: Path) -> Callable[[], BinaryIO]:
    def open_it() -> BinaryIO:
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise DamagedError(f"{path} is missing", hint="create the parcel anew", code=Code.BUILD_DAMAGED) from None

    return open_it
