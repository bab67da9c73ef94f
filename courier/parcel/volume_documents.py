"""Reading and verifying the documents of a volume: its label, its packing list, and its two large tables.

They lie before the payload and are read in one pass. What is signed by a trusted site is believed. A damaged document
is replaced by its copy on the same medium, or by that of another volume. `courier.parcel.volume_reader` reads the
payload.
"""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError
from courier.media import volume_files as volume
from courier.media.reading import Medium, RandomMedium, TapeMedium
from courier.media.tape_reels import describe
from courier.site.trust import Trust
from formats.digest import CHUNK, sha256_hex
from formats.documents import label as label_doc
from formats.documents import packing as packing_doc
from formats.documents.kind import DocumentKind
from formats.documents.label import VolumeLabel
from formats.documents.packing import PackingList, TableRef
from formats.envelope import MAX_ENVELOPE
from formats.errors import FormatError, UnreadableError
from formats.tape import VolumeLabel as TapeLabel

TABLES = (volume.contents_path(encrypted=False), volume.contents_path(encrypted=True), volume.BLOCKS)
MAX_TABLE = 8 << 30
"""Bytes of the largest table that is copied."""
Signed = TypeVar("Signed", VolumeLabel, PackingList)
MAX_TAG = 64 << 20
"""Bytes of the largest tag file that is checked."""
MAX_TAGS = 4096
"""Tag files of one medium whose digests are remembered; a volume has some twenty."""


@dataclass(kw_only=True, slots=True)
class VolumeDocuments:
    """What a volume says of itself, verified. ``findings`` are faults of its documents that do not stop a reader.

    ``packing`` is its packing list, ``envelope`` the signed envelope of that, ``digest`` the SHA-256 of its payload.
    ``contents`` and ``blocks`` are copies in the scratch folder, checked by their signed digests; None where this
    medium's copy is damaged (every volume has the same). ``labelled``: the label is the medium's own; otherwise that
    was damaged, and ``label`` is made from the packing list.
    """

    packing: PackingList
    envelope: bytes
    digest: str
    label: VolumeLabel
    contents: Path | None = None
    blocks: Path | None = None
    findings: list[str] = field(default_factory=list)
    labelled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class _SignedPacking:
    """A verified packing list, its envelope, and the SHA-256 of its payload."""

    packing: PackingList
    envelope: bytes
    digest: str


class DocumentReader:
    """Reads the documents of one medium: give it each file with `take`, then ask for the `verified` documents."""

    def __init__(self, medium: Medium, trust: Trust, *, scratch: Path, now_ns: int) -> None:
        """``scratch`` is a folder for copies of the two large tables."""
        self._medium = medium
        self._scratch = scratch
        self._trust = trust
        self._now_ns = now_ns
        self._tags: dict[str, str] = {}
        self._kept: dict[str, bytes | None] = {}

    @property
    def none(self) -> bool:
        """Whether the medium has neither label nor packing list."""
        return not self._kept

    def take(self, path: str, size: int, stream: BinaryIO) -> None:
        """Hash one file of the medium; keep label and packing list, copy the tables.

        Of other files only a digest is kept, so that any number of them takes little memory.
        """
        if path in TABLES:
            self._copy_table(path, stream)
            return
        is_kept = path in (volume.LABEL, volume.PACKING_LIST)
        if is_kept:
            self._kept[path] = None
        if size > (MAX_ENVELOPE if path.startswith(volume.FOLDER) else MAX_TAG):
            return
        if not is_kept and len(self._tags) >= MAX_TAGS:
            return
        digest, kept = hashlib.sha256(), io.BytesIO()
        try:
            while data := stream.read(CHUNK):
                digest.update(data)
                if is_kept:
                    kept.write(data)
        except (OSError, UnreadableError):
            return
        self._tags[path] = digest.hexdigest()
        if is_kept and kept.tell() == size:
            self._kept[path] = kept.getvalue()

    def _copy_table(self, path: str, stream: BinaryIO) -> None:
        digest, count = hashlib.sha256(), 0
        with (self._scratch / Path(path).name).open("wb") as out:
            try:
                while data := stream.read(CHUNK):
                    digest.update(data)
                    out.write(data)
                    count += len(data)
                    if count > MAX_TABLE:
                        return
            except (OSError, UnreadableError) as error:
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise
                return
        self._tags[path] = digest.hexdigest()

    def verified(self, known: Callable[[str], bytes | None], first: str) -> VolumeDocuments:
        """What the documents say, once their signatures are verified; ``first``: path of the payload's first file.

        ``known`` as for `courier.parcel.volume_reader.VolumeReader.documents`. Raises as that does.
        """
        if not self._kept:
            raise RefusedError(
                f"{self._medium.name}: no volume of a parcel (it has neither packing list nor label)",
                hint="name a volume made by courier parcel write",
                code=Code.NOT_A_VOLUME,
            )
        label: VolumeLabel | None = None
        label_error: CourierError | None = None
        try:
            label = self._label(self._kept.get(volume.LABEL))
        except DamagedError as error:
            label_error = error
        signed, findings = self._own_or_spare_packing(label, known)
        labelled = label is not None
        if label is None:
            # Every block is judged by what the packing list signs, so the number need not be signed again.
            number = _number_by_payload(signed.packing, first)
            if number is None:
                raise label_error or AssertionError
            label = _stand_in(signed.packing, signed.digest, number)
            findings.append(
                f"{volume.LABEL} is missing or damaged on this medium; by its payload it is volume {number}. "
                "RESTORE.txt and restore.py cannot be checked: do not use them"
            )
        self._check_label(label, signed.packing, signed.digest)
        documents = VolumeDocuments(
            packing=signed.packing,
            envelope=signed.envelope,
            digest=signed.digest,
            label=label,
            findings=findings,
            labelled=labelled,
        )
        self._tables(documents)
        self._check_tags(documents)
        return documents

    def _own_or_spare_packing(
        self, label: VolumeLabel | None, known: Callable[[str], bytes | None]
    ) -> tuple[_SignedPacking, list[str]]:
        """The packing list of the medium or, where that is damaged, the one that stands in for it, with a finding."""
        try:
            return self._packing(self._kept.get(volume.PACKING_LIST)), []
        except CourierError as error:
            copy = self._good_copy(label)
            # The label is signed and names its packing list by digest, so that no other can replace it.
            spare = copy or (known(label.packing_list) if label is not None else None)
            if label is not None and spare is None and isinstance(error, DamagedError):
                message = f"{error.message} (by its label it is volume {label.number} of {label.of} of {label.parcel})"
                raise DamagedError(message, hint=error.hint, code=error.code) from None
            if spare is None:
                raise
            how = "damaged" if isinstance(error, DamagedError) else "damaged or altered"
            whose = "its copy there" if copy else "the one of another volume"
            finding = f"{volume.PACKING_LIST} is {how} on this medium; {whose} is used"
        return self._packing(spare), [finding]

    def _check_tags(self, documents: VolumeDocuments) -> None:
        for path, sha256 in documents.label.tags:
            if self._tags.get(path) != sha256 and not path.startswith(volume.COPIES):
                documents.findings.append(f"{path} is missing, damaged or altered on this medium: do not use it")

    def of_further_reel(self, reel: TapeLabel, before: Callable[[str, int], bytes | None]) -> VolumeDocuments:
        """The documents for a further reel of a tape, which has none: they are found by what its tape label says.

        ``before`` as for `courier.parcel.volume_reader.VolumeReader.documents`. Raises `DamagedError` where the first
        reel was not read before.
        """
        envelope = before(reel.label, reel.created_ns)
        if envelope is None:
            raise DamagedError(
                f"{self._medium.name}: {describe(reel)}; the documents of the volume are on reel 1",
                hint="give reel 1 first, then this one again; folders of reels: all together, in one folder",
                code=Code.REEL_MISSING,
            )
        signed = self._packing(envelope)
        packing = signed.packing
        label = _stand_in(packing, signed.digest, _number_of(packing, reel.label))
        return VolumeDocuments(packing=packing, envelope=envelope, digest=signed.digest, label=label, labelled=False)

    def bag_findings(self, documents: VolumeDocuments) -> list[str]:
        """A note for each of BagIt's own files that differs from what follows from the signed documents.

        Only stock tools read these files, so the volume is as good without them.
        """
        if not documents.labelled:
            return []
        digests = {volume.PACKING_LIST: sha256_hex(documents.envelope), volume.LABEL: self._tags[volume.LABEL]}
        return [
            f"{path} is missing, damaged or altered on this medium: stock tools cannot check it; this toolkit can"
            for path, data in volume.signed_tags(documents.packing, documents.label, digests).items()
            if self._tags.get(path) != sha256_hex(data)
        ]

    def note_copy(self, path: str, stream: BinaryIO) -> None:
        """Hash the copy of a document that lies behind the payload."""
        digest = hashlib.sha256()
        try:
            while data := stream.read(CHUNK):
                digest.update(data)
        except (OSError, UnreadableError):
            return
        if len(self._tags) < MAX_TAGS:
            self._tags[path] = digest.hexdigest()

    def copy_findings(self, documents: VolumeDocuments) -> list[str]:
        """A note for each damaged copy of a document; call it when the whole medium has been read."""
        tags = [(path, sha256) for path, sha256 in documents.label.tags if path.startswith(volume.COPIES)]
        return [
            f"{path} is missing, damaged or altered on this medium" for path, sha in tags if self._tags.get(path) != sha
        ]

    def _copy(self, path: str) -> bytes | None:
        """Read the copy of a document, which the only volume of a parcel has behind its payload.

        A table is copied into the scratch folder; the packing list is returned. A tape in a drive is not searched for
        it, because it is read once, from its start.
        """
        try:
            with self._opened(volume.copy_path(path)) as stream:
                if path in TABLES:
                    self._copy_table(path, stream)
                    return None
                return stream.read(MAX_ENVELOPE + 1)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            return None
        except (KeyError, FormatError):
            return None

    @contextmanager
    def _opened(self, path: str) -> Iterator[BinaryIO]:
        """Open a file of the medium while a walk over it goes on; raises `KeyError` where that cannot be done."""
        if isinstance(self._medium, RandomMedium):
            with self._medium.files() as open_file, open_file(path) as stream:
                yield stream
            return
        again = self._medium.again() if isinstance(self._medium, TapeMedium) else None
        if again is None:
            raise KeyError(path)
        with closing(again.walk()) as files:
            found = next((stream for name, _, stream in files if name == path), None)
            if found is None:
                raise KeyError(path)
            yield found

    def _good_copy(self, label: VolumeLabel | None) -> bytes | None:
        """The medium's own copy of the packing list, if it is the one that the label names (or there is no label)."""
        data = self._copy(volume.PACKING_LIST)
        try:
            digest = self._packing(data).digest if data is not None else None
        except CourierError:
            return None
        return data if label is None or digest == label.packing_list else None

    def _label(self, data: bytes | None) -> VolumeLabel:
        return self._trusted(data, volume.LABEL, label_doc.KIND)[0]

    def _packing(self, data: bytes | None) -> _SignedPacking:
        packing, digest = self._trusted(data, volume.PACKING_LIST, packing_doc.KIND)
        return _SignedPacking(packing=packing, envelope=data or b"", digest=digest)

    def _trusted(self, data: bytes | None, path: str, kind: DocumentKind[Signed]) -> tuple[Signed, str]:
        where = f"{self._medium.name}: {path}"
        if path == volume.PACKING_LIST:
            hint = "receive another volume of the parcel first, then this one again; or try another drive"
        else:
            hint = "try another drive, or another copy of this volume; no other volume has its label"
        if data is None:
            raise DamagedError(f"{where} is missing or cannot be read", hint=hint)
        try:
            document, envelope = self._trust.verify(data, kind, now_ns=self._now_ns, where=where, on_medium=True)
        except DamagedError as error:
            raise DamagedError(error.message, hint=hint, code=error.code) from None
        return document, envelope.sha256

    def _check_label(self, label: VolumeLabel, packing: PackingList, digest: str) -> None:
        if (label.packing_list, label.parcel, label.source, label.of) != (
            digest,
            packing.parcel,
            packing.source,
            packing.volumes,
        ):
            raise RefusedError(
                f"{self._medium.name}: the label ({label.label}) belongs to another packing list than this one",
                hint="the medium mixes two parcels or builds: ask the sender for this volume again",
                code=Code.MIXED_VOLUME,
            )

    def _tables(self, documents: VolumeDocuments) -> None:
        packing = documents.packing
        contents = volume.contents_path(encrypted=packing.encrypted)
        for path, ref in ((contents, packing.contents), (volume.BLOCKS, packing.blocks)):
            copy = self._scratch / Path(path).name
            if not self._is_table(path, ref):
                self._copy(path)
                there = self._is_table(path, ref)
                also = "; its copy there is used" if there else "; another volume has it too" * (packing.volumes > 1)
                documents.findings.append(f"{path} is missing, damaged or altered on this medium{also}")
                if not there:
                    continue
            if path == volume.BLOCKS:
                documents.blocks = copy
            else:
                documents.contents = copy

    def _is_table(self, path: str, ref: TableRef) -> bool:
        copy = self._scratch / Path(path).name
        return self._tags.get(path) == ref.sha256 and copy.stat().st_size == ref.size


def documents_by_network(
    trust: Trust, envelope: bytes, *, contents: Path, blocks: Path, now_ns: int, where: str
) -> VolumeDocuments:
    """The documents of a parcel that came by network, as if they had come with its first volume.

    ``contents`` and ``blocks``: files that are moved into the spool. Raises `RefusedError` or `DamagedError` where the
    packing list is not to be trusted, or where a table does not have its signed digest.
    """
    packing, signed = trust.verify(envelope, packing_doc.KIND, now_ns=now_ns, where=where, on_medium=True)
    for path, ref in ((contents, packing.contents), (blocks, packing.blocks)):
        with path.open("rb") as source:
            good = path.stat().st_size == ref.size and hashlib.file_digest(source, "sha256").hexdigest() == ref.sha256
        if not good:
            raise DamagedError(
                f"{where}: {path.name} is not as in the signed packing list",
                hint=f"at {packing.source}: courier parcel send {packing.parcel} --by-network --stop; then begin anew",
            )
    label = _stand_in(packing, signed.sha256, 1)
    return VolumeDocuments(
        packing=packing,
        envelope=envelope,
        digest=signed.sha256,
        label=label,
        contents=contents,
        blocks=blocks,
        labelled=False,
    )


def _stand_in(packing: PackingList, digest: str, number: int) -> VolumeLabel:
    """The label of a volume, made from its packing list; it has no digests of the files beside it."""
    return VolumeLabel(
        parcel=packing.parcel,
        source=packing.source,
        number=number,
        of=packing.volumes,
        packing_list=digest,
        issued_ns=packing.created_ns,
        tags=(),
    )


def _number_by_payload(packing: PackingList, first: str) -> int | None:
    """The volume that carries ``first``, the first file of the payload; None where the packing list has no such."""
    return next((file.volume for at, file in enumerate(packing.files()) if packing.path(at) == first), None)


def _number_of(packing: PackingList, label: str) -> int:
    """The volume of that label (``HQ1_000042_V003``), which must be one of the packing list's."""
    return next(number for number in range(1, packing.volumes + 1) if packing.volume_label(number) == label)
