"""What is written on a volume: every file, from the signed parcel alone, and how many bytes of a medium it takes.

A volume issued again is the same to the byte. The only volume of a parcel has its documents twice, the second time
behind the payload, where there is room: no other volume could stand in for a damaged one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import make_folder, write_atomic
from courier.media import volume_files as volume
from courier.media.writing import SourceFile, VolumeSource
from courier.parcel.volume_layout import FixedSizes, envelope_size, volume_files
from courier.sending.outgoing_parcel import CARD, CONTENTS, OutgoingParcel
from courier.sending.plan import restore_script
from courier.site.home import Site
from formats.bag import BagFile
from formats.digest import sha256_hex
from formats.documents import label as label_doc
from formats.documents.label import VolumeLabel
from formats.envelope import parse_envelope, verified_keys
from formats.errors import FormatError


def medium_bytes(site: Site, parcel: OutgoingParcel, numbers: Sequence[int]) -> dict[int, int]:
    """Bytes each volume needs on its medium at most, file system included, whatever the layout."""
    capacity = parcel.packing.capacity
    return {number: volume.medium_size(_reckoned(site, parcel, number), capacity) for number in numbers}


def _reckoned(site: Site, parcel: OutgoingParcel, number: int) -> list[tuple[str, int]]:
    """(path, size at most) of the files of a volume. An only one has copies of its documents where they have room."""
    packing = parcel.packing
    fixed = FixedSizes(
        card=(parcel.folder / CARD).stat().st_size, script=len(restore_script()), contents=packing.contents.size
    )
    reckon = partial(
        volume_files,
        packing,
        number,
        fixed,
        name=site.settings.name,
        listing=envelope_size(len(packing.payload())),
    )
    with_copies = reckon(copies=packing.volumes == 1)
    fits = volume.medium_size(with_copies, packing.capacity) <= packing.capacity
    return with_copies if fits else reckon()


def _signed_label(site: Site, folder: Path, label: VolumeLabel) -> bytes:
    """The label's envelope, the same each time. It is kept: a key that was renewed since would sign otherwise, and
    ECDSA does every time."""
    kept = folder / "labels" / f"{label.packing_list[:16]}-{label.number:04d}.json"
    with suppress(FileNotFoundError, FormatError):
        envelope = parse_envelope(kept.read_bytes())
        before = replace(VolumeLabel.parse(envelope.payload), issued_ns=label.issued_ns)
        if before == label and verified_keys(envelope, [key.key for key in site.card.keys]):
            return envelope.encode()
    data = site.sign(label.payload(), label_doc.TYPE).encode()
    write_atomic(make_folder(kept.parent) / kept.name, data)
    return data


def volume_source(site: Site, parcel: OutgoingParcel, number: int) -> VolumeSource:
    """Everything that is written on a volume."""
    packing, folder = parcel.packing, parcel.folder
    made = packing.created_ns
    documents = {
        volume.RESTORE_TEXT: volume.restore_page(packing, number, name=site.settings.name).encode(),
        volume.RESTORE_SCRIPT: restore_script(),
        volume.PACKING_LIST: parcel.envelope,
        volume.CARD: (folder / CARD).read_bytes(),
    }
    tables = {
        volume.contents_path(encrypted=packing.encrypted): (folder / CONTENTS, packing.contents),
        volume.BLOCKS: (parcel.blocks(), packing.blocks),
    }
    digests = {path: sha256_hex(data) for path, data in documents.items()}
    there = {path for path, _ in _reckoned(site, parcel, number)}
    copies = [path for path in volume.copied(encrypted=packing.encrypted) if volume.copy_path(path) in there]
    known = {**digests, **{path: ref.sha256 for path, (_, ref) in tables.items()}}
    label = VolumeLabel(
        parcel=packing.parcel,
        source=packing.source,
        number=number,
        of=packing.volumes,
        packing_list=parse_envelope(parcel.envelope).sha256,
        issued_ns=site.signing_time(made),
        tags=(
            *((path, digest) for path, digest in digests.items() if path != volume.PACKING_LIST),
            *((volume.copy_path(path), known[path]) for path in copies),
        ),
    )
    documents[volume.LABEL] = _signed_label(site, folder, label)
    files = [
        SourceFile(path=path, size=len(data), sha256=sha256_hex(data), open=_from_memory(data))
        for path, data in documents.items()
    ]
    files += [
        SourceFile(path=path, size=ref.size, sha256=ref.sha256, open=_from_disk(file))
        for path, (file, ref) in tables.items()
    ]
    files += [replace(file, path=volume.copy_path(file.path)) for file in files if file.path in copies]
    others = [BagFile(path=file.path, size=file.size, sha256=file.sha256) for file in files]
    for path, data in volume.bag_tags(packing, number, others).items():
        files.append(SourceFile(path=path, size=len(data), sha256=sha256_hex(data), open=_from_memory(data)))
    everything, built = packing.files(), parcel.files(site)
    for index in packing.on_volume(number):
        record = everything[index]
        opener = partial(built.open, index)
        files.append(SourceFile(path=packing.path(index), size=record.size, sha256=record.sha256, open=opener))
    files.sort(key=lambda file: volume.writing_order(file.path))
    publisher = f"SITE {packing.source}"
    return VolumeSource(
        label=packing.volume_label(number),
        publisher=publisher,
        made_ns=made,
        files=tuple(files),
        unit=packing.block_size,
    )


def _from_memory(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def _from_disk(path: Path) -> Callable[[], BinaryIO]:
    def open_it() -> BinaryIO:
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise DamagedError(f"{path} is missing", hint="create the parcel anew", code=Code.BUILD_DAMAGED) from None

    return open_it
