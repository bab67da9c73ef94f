"""Reading one volume: what it is, whether it is to be trusted, and its blocks, good and bad.

Used by `courier.receive` to take content in and by `courier.verify` to check only. The documents come first, in one
pass; nothing of the payload is looked at before the packing list has been verified.
"""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from courier import volume
from courier.errors import CourierError, Damaged, Refused, explain
from courier.files import explain_os
from courier.media import Medium, RandomMedium, TapeMedium
from courier.tapereels import describe
from courier.trust import Trust
from formats.digest import CHUNK, sha256_hex
from formats.documents import label as label_doc
from formats.documents import packing as packing_doc
from formats.documents.label import VolumeLabel
from formats.documents.packing import PackingList, TableRef
from formats.envelope import MAX_ENVELOPE
from formats.errors import FormatError, Malformed, Unreadable
from formats.tape import VolumeLabel as TapeLabel

TABLES = (volume.contents_path(sealed=False), volume.contents_path(sealed=True), volume.BLOCKS)
MAX_TABLE = 8 << 30
"""Bytes of the largest table that is copied."""
Signed = TypeVar("Signed", VolumeLabel, PackingList)
MAX_TAG = 64 << 20
"""Bytes of the largest tag file that is checked."""
MAX_TAGS = 4096
"""Tag files of one medium whose digests are remembered; a volume has some twenty."""
MAX_NAMED = 32
"""Files of one medium that are named as being none of the parcel's; more are counted."""


@dataclass(kw_only=True, slots=True)
class Head:
    """What a volume says of itself, verified. ``findings`` are faults of its documents that do not stop a reader.

    ``contents`` and ``blocks`` are copies in the scratch folder, checked by their signed digests; None where this
    medium's copy is damaged (another volume has the same). ``labelled``: the label is the medium's own; else it was
    damaged, and stands for what the payload tells.
    """

    packing: PackingList
    envelope: bytes
    label: VolumeLabel
    contents: Path | None = None
    blocks: Path | None = None
    findings: list[str] = field(default_factory=list)
    labelled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadBlock:
    """Block ``block`` of file ``index``: its bytes, or None where the medium could not be read."""

    index: int
    block: int
    data: bytes | None


class VolumeReader:
    """Reads one medium: `head` first, then `blocks`."""

    def __init__(self, medium: Medium, trust: Trust, *, scratch: Path, now_ns: int) -> None:
        """``scratch`` is a folder for copies of the two large tables."""
        self._medium = medium
        self._scratch = scratch
        self._trust = trust
        self._now_ns = now_ns
        self._walk = medium.walk()
        self._next: tuple[str, int, BinaryIO] | None = None
        self._tags: dict[str, str] = {}
        self._unexpected: list[str] = []
        self._unnamed = 0
        self._ended = False
        self.seen: set[int] = set()

    def head(
        self,
        known: Callable[[str], bytes | None] = lambda _: None,
        before: Callable[[str, int], bytes | None] = lambda _label, _created_ns: None,
    ) -> Head:
        """Read and verify the documents. Raises `Refused` for a volume that is not to be trusted, `Damaged` otherwise.

        ``known``: the packing list's envelope by its digest where another volume brought it already; it stands in
        for one that cannot be read here. ``before``: the same by the volume's label and when it was made (nanoseconds
        since 1970, UTC), for a further reel of a tape, which has no documents: they stand on the first.
        """
        documents: dict[str, bytes | None] = {}
        try:
            while (found := self._advance()) is not None:
                path, size, stream = found
                if path.startswith("data/"):
                    self._next = path, size, stream
                    break
                data = self._document(path, size, stream)
                if path in (volume.LABEL, volume.PACKING_LIST):
                    documents[path] = data
        except FormatError as error:
            raise explain(error, where=self._medium.name, hint=_hint(error)) from None
        reel = self._medium.first if isinstance(self._medium, TapeMedium) else None
        if not documents and reel is not None and reel.reel > 1:
            return self._of_further_reel(reel, before)
        return self._verified(documents, known)

    def _of_further_reel(self, reel: TapeLabel, before: Callable[[str, int], bytes | None]) -> Head:
        """What a reel without documents belongs to, by its tape label; its blocks are judged by the packing list."""
        envelope = before(reel.label, reel.created_ns)
        if envelope is None:
            raise Damaged(
                f"{self._medium.name}: {describe(reel)}; what tells of the volume stands on reel 1",
                hint="give reel 1 first, then this one again; folders of reels: all together, in one folder",
                code="reel-missing",
            )
        packing, digest = self._packing(envelope)
        label = self._stand_in(packing, digest, _number_of(packing, reel.label))
        return Head(packing=packing, envelope=envelope, label=label, labelled=False)

    def _advance(self) -> tuple[str, int, BinaryIO] | None:
        try:
            return next(self._walk, None)
        except OSError as error:
            if error.errno != errno.EIO:
                known = explain_os(error)
                raise type(known)(
                    f"{self._medium.name}: {error.strerror or error}", hint=known.hint, code=known.code
                ) from None
            raise Damaged(
                f"{self._medium.name}: cannot be read any further ({error.strerror})",
                hint="try another drive; parity may make up for what stays unread, or its sender: "
                "courier parcel repair PARCEL --from-network",
            ) from None

    def _document(self, path: str, size: int, stream: BinaryIO) -> bytes | None:
        """Digest one file; return the bytes of label and packing list. Others are not kept, however many there are."""
        if path in TABLES:
            self._copy_table(path, stream)
            return None
        if size > (MAX_ENVELOPE if path.startswith(volume.FOLDER) else MAX_TAG):
            return None
        is_kept = path in (volume.LABEL, volume.PACKING_LIST)
        if not is_kept and len(self._tags) >= MAX_TAGS:
            return None
        digest, kept = hashlib.sha256(), io.BytesIO()
        try:
            while data := stream.read(CHUNK):
                digest.update(data)
                if is_kept:
                    kept.write(data)
        except (OSError, Unreadable):
            return None
        self._tags[path] = digest.hexdigest()
        return kept.getvalue() if kept.tell() == size else None

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
            except (OSError, Unreadable) as error:
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise
                return
        self._tags[path] = digest.hexdigest()

    def _copy(self, path: str) -> bytes | None:
        """The copy of a document that an only volume has behind its payload: a table is put in its place, the packing
        list returned. A tape, which is read once from its start, is not searched for it."""
        if not isinstance(self._medium, RandomMedium):
            return None
        try:
            with self._medium.files() as open_file, open_file(volume.copy_path(path)) as stream:
                if path in TABLES:
                    self._copy_table(path, stream)
                    return None
                return stream.read(MAX_ENVELOPE + 1)
        except (OSError, KeyError, FormatError):
            return None

    def _verified(self, documents: dict[str, bytes | None], known: Callable[[str], bytes | None]) -> Head:
        name = self._medium.name
        if volume.LABEL not in documents and volume.PACKING_LIST not in documents:
            raise Refused(
                f"{name}: no volume of a parcel (it has neither packing list nor label)",
                hint="name a volume made by courier parcel write",
                code="not-a-volume",
            )
        label: VolumeLabel | None = None
        label_error: CourierError | None = None
        try:
            label = self._label(documents.get(volume.LABEL))
        except Damaged as error:
            label_error = error
        envelope = documents.get(volume.PACKING_LIST)
        findings = []
        try:
            packing, digest = self._packing(envelope)
        except CourierError as error:
            copy = self._good_copy(label)
            # The label is signed, and names its packing list by digest: what stands in is that very one.
            spare = copy or (known(label.packing_list) if label is not None else None)
            if label is not None and spare is None and isinstance(error, Damaged):
                message = f"{error.message} (by its label it is volume {label.number} of {label.of} of {label.parcel})"
                raise Damaged(message, hint=error.hint, code=error.code) from None
            if spare is None:
                raise
            how = "damaged" if isinstance(error, Damaged) else "damaged or altered"
            whose = "its copy there" if copy else "the one of another volume"
            findings.append(f"{volume.PACKING_LIST} is {how} on this medium; {whose} is used")
            envelope = spare
            packing, digest = self._packing(spare)
        labelled = label is not None
        if label is None:
            # Every block is judged by what the packing list signs, so the number need not be signed again.
            number = self._number_by_payload(packing)
            if number is None:
                raise label_error or AssertionError
            label = self._stand_in(packing, digest, number)
            findings.append(
                f"{volume.LABEL} is missing or damaged on this medium; by its payload it is volume {number}. "
                "RESTORE.txt and restore.py cannot be checked: do not use them"
            )
        self._check_label(label, packing, digest)
        head = Head(packing=packing, envelope=envelope or b"", label=label, findings=findings, labelled=labelled)
        self._tables(head)
        for path, sha256 in label.tags:
            if self._tags.get(path) != sha256 and not path.startswith(volume.COPIES):
                head.findings.append(f"{path} is missing, damaged or altered on this medium: do not use it")
        return head

    def _good_copy(self, label: VolumeLabel | None) -> bytes | None:
        """The medium's own copy of the packing list, where it is the one that the label (if there is any) names."""
        data = self._copy(volume.PACKING_LIST)
        try:
            digest = self._packing(data)[1] if data is not None else None
        except CourierError:
            return None
        return data if label is None or digest == label.packing_list else None

    def _stand_in(self, packing: PackingList, digest: str, number: int) -> VolumeLabel:
        """What a label that is not here would say, without digests of the documents beside it."""
        return VolumeLabel(
            parcel=packing.parcel,
            source=packing.source,
            number=number,
            of=packing.volumes,
            packing_list=digest,
            issued_ns=packing.created_ns,
            tags=(),
        )

    def _number_by_payload(self, packing: PackingList) -> int | None:
        """The volume that the packing list puts the first file of the payload on."""
        first = self._next[0] if self._next is not None else ""
        return next((file.volume for at, file in enumerate(packing.files()) if packing.path(at) == first), None)

    def _label(self, data: bytes | None) -> VolumeLabel:
        return self._trusted(data, volume.LABEL, VolumeLabel.parse, label_doc.TYPE)[0]

    def _packing(self, data: bytes | None) -> tuple[PackingList, str]:
        return self._trusted(data, volume.PACKING_LIST, PackingList.parse, packing_doc.TYPE)

    def _trusted(
        self, data: bytes | None, path: str, parse: Callable[[bytes], Signed], payload_type: str
    ) -> tuple[Signed, str]:
        where = f"{self._medium.name}: {path}"
        if path == volume.PACKING_LIST:
            hint = "receive another volume of the parcel first, then this one again; or try another drive"
        else:
            hint = "try another drive, or another copy of this volume; no other volume has its label"
        if data is None:
            raise Damaged(f"{where} is missing or cannot be read", hint=hint)
        try:
            document, envelope = self._trust.verify(
                data,
                parse,
                payload_type=payload_type,
                signed_ns=lambda d: d.issued_ns if isinstance(d, VolumeLabel) else d.created_ns,
                now_ns=self._now_ns,
                where=where,
                on_medium=True,
            )
        except Damaged as error:
            raise Damaged(error.message, hint=hint, code=error.code) from None
        return document, envelope.sha256

    def _check_label(self, label: VolumeLabel, packing: PackingList, digest: str) -> None:
        if (label.packing_list, label.parcel, label.source, label.of) != (
            digest,
            packing.parcel,
            packing.source,
            packing.volumes,
        ):
            raise Refused(
                f"{self._medium.name}: the label ({label.label}) belongs to another packing list than this one",
                hint="the medium mixes two parcels or builds: ask the sender for this volume again",
                code="mixed-volume",
            )

    def _tables(self, head: Head) -> None:
        packing = head.packing
        contents = volume.contents_path(sealed=packing.sealed)
        for path, ref in ((contents, packing.contents), (volume.BLOCKS, packing.blocks)):
            copy = self._scratch / Path(path).name
            if not self._is_table(path, ref):
                self._copy(path)
                there = self._is_table(path, ref)
                also = "; its copy there is used" if there else "; another volume has it too" * (packing.volumes > 1)
                head.findings.append(f"{path} is missing, damaged or altered on this medium{also}")
                if not there:
                    continue
            if path == volume.BLOCKS:
                head.blocks = copy
            else:
                head.contents = copy

    def _is_table(self, path: str, ref: TableRef) -> bool:
        copy = self._scratch / Path(path).name
        return self._tags.get(path) == ref.sha256 and copy.stat().st_size == ref.size

    def bag_findings(self, head: Head) -> list[str]:
        """A note for each of BagIt's own files that is not as what is signed makes it: stock tools go by these.

        Nothing of ours does, so the volume is no worse for it. Call it after `head`.
        """
        if not head.labelled:
            return []
        digests = {volume.PACKING_LIST: sha256_hex(head.envelope), volume.LABEL: self._tags[volume.LABEL]}
        return [
            f"{path} is missing, damaged or altered on this medium: stock tools cannot check it; we do without"
            for path, data in volume.signed_tags(head.packing, head.label, digests).items()
            if self._tags.get(path) != sha256_hex(data)
        ]

    def tape_findings(self) -> list[str]:
        """A note for each thing of a tape, but its files, that was damaged: labels, indexes, marks; we do without.

        Call it when `blocks` has come to its end.
        """
        found = self._medium.findings if isinstance(self._medium, TapeMedium) else []
        more = [f"tape: {len(found) - MAX_NAMED} more of these"] if len(found) > MAX_NAMED else []
        return [*(f"tape: {text}" for text in found[:MAX_NAMED]), *more]

    def lacking_reels(self, packing: PackingList, missing: Mapping[int, Iterable[int]]) -> str:
        """Which reels that were not given hold the blocks that are ``missing`` (by index), for people.

        Call it when `blocks` has come to its end.
        """
        if not isinstance(self._medium, TapeMedium):
            return ""
        size = packing.block_size
        lost = [(packing.path(index), block * size) for index, blocks in missing.items() for block in blocks]
        return self._medium.lacking(lost)

    def blocks(self, packing: PackingList, number: int, wanted: Callable[[int, int], bool]) -> Iterator[ReadBlock]:
        """Read the payload of volume ``number``: the blocks that are ``wanted`` (index, block), in order.

        Blocks past a truncated end are not yielded. Files the packing list does not put on this volume are
        told by `unexpected`, files that are there by `seen`.
        """
        indexes = {packing.path(index): index for index in packing.on_volume(number)}
        try:
            while self._next is not None:
                path, size, stream = self._next
                index = indexes.get(path)
                if index is None or index in self.seen:
                    if path.startswith("data/"):
                        self._note_unexpected(path)
                    elif path.startswith(volume.COPIES):
                        self._note_copy(path, stream)
                else:
                    self.seen.add(index)
                    yield from self._file(packing, index, size, stream, wanted)
                self._next = self._advance()
            self._ended = True
        except FormatError as error:
            raise explain(error, where=self._medium.name, hint=_read_on(error, packing.parcel)) from None

    def _note_copy(self, path: str, stream: BinaryIO) -> None:
        digest = hashlib.sha256()
        try:
            while data := stream.read(CHUNK):
                digest.update(data)
        except (OSError, Unreadable):
            return
        if len(self._tags) < MAX_TAGS:
            self._tags[path] = digest.hexdigest()

    def copy_findings(self, head: Head) -> list[str]:
        """A note for each damaged copy of a document, if `blocks` has come to its end."""
        if not self._ended or (isinstance(self._medium, TapeMedium) and self._medium.continues):
            return []
        tags = [(path, sha256) for path, sha256 in head.label.tags if path.startswith(volume.COPIES)]
        return [
            f"{path} is missing, damaged or altered on this medium" for path, sha in tags if self._tags.get(path) != sha
        ]

    def _file(
        self, packing: PackingList, index: int, size: int, stream: BinaryIO, wanted: Callable[[int, int], bool]
    ) -> Iterator[ReadBlock]:
        length = packing.files()[index].size
        if size > length:
            self._note_unexpected(f"{packing.path(index)} ({size - length} bytes too long)")
        at = 0
        for block, start in enumerate(range(0, length, packing.block_size)):
            count = min(packing.block_size, length - start)
            if start >= size:
                return
            if not wanted(index, block):
                continue
            data: bytes | None
            try:
                if at != start:
                    stream.seek(start)
                data = _read_exactly(stream, count)
                at = start + len(data)
            except (OSError, Unreadable):
                data, at = None, -1
            yield ReadBlock(index=index, block=block, data=data)

    def _note_unexpected(self, path: str) -> None:
        if len(self._unexpected) < MAX_NAMED:
            self._unexpected.append(path)
        else:
            self._unnamed += 1

    def unexpected(self) -> list[str]:
        """A finding for each file that is not the parcel's, so far; those after the first few are only counted."""
        found = [f"{path} is not in the packing list" for path in self._unexpected]
        return [*found, f"{self._unnamed} more are not in the packing list"] if self._unnamed else found

    def close(self) -> None:
        """Close the medium."""
        self._walk.close()  # type: ignore[attr-defined]


def _number_of(packing: PackingList, label: str) -> int:
    """The volume of that label (``HQ1_000042_V003``), which must be one of the packing list's."""
    return next(number for number in range(1, packing.volumes + 1) if packing.volume_label(number) == label)


def _hint(error: FormatError) -> str:
    """What to do about a medium that cannot be read at all; what `explain` says where it is another matter."""
    if isinstance(error, (Malformed, Unreadable)):
        return (
            "is it the right medium? then try another drive; the parity of the other volumes may make up for it; "
            "or have this volume written again by its sender"
        )
    return ""


def _read_on(error: FormatError, parcel: str) -> str:
    """What to do about a medium whose documents were good and whose rest cannot be read."""
    if isinstance(error, (Malformed, Unreadable)):
        return (
            "what was read is kept: try another drive; parity mends what stays bad, or its sender: "
            f"courier parcel repair {parcel} --from-network"
        )
    return ""


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) == count or not data:
        return data
    parts = io.BytesIO()
    parts.write(data)
    while parts.tell() < count and (data := stream.read(count - parts.tell())):
        parts.write(data)
    return parts.getvalue()
