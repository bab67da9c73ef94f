"""Verifying discs of a set: whose they are, whether they are whole, and whether all discs of the set are there.

The set list on a disc is verified with the site's card; then every file of the disc is compared with it, block by block
where it is a piece. No passphrase is needed for that: pieces are signed as they lie on the disc, encrypted.
Nothing but the card speaks for a set, so one whose key was revoked since is refused, whatever its date.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.deployment.standalone.open_disc import OpenDisc, open_disc
from courier.error_codes import Code
from courier.errors import CourierError, RefusedError, explain
from courier.files import explain_os
from courier.progress import SILENT, Progress
from courier.site.clock import now
from courier.site.trust import Trust
from courier.text import dashed, plural
from formats.age import open_encrypted
from formats.age.header import Identity
from formats.age.passphrase import decrypt_secret
from formats.blocks import BlockTable, ranges
from formats.digest import CHUNK, sha256_hex
from formats.disk.gpt import SECTOR, has_boot_mark
from formats.documents import deployment as deployment_doc
from formats.documents import standalone as standalone_doc
from formats.documents.deployment import DeploymentPolicy
from formats.documents.packing import TableRef
from formats.documents.standalone import (
    BLOCKS,
    CARD,
    KEY,
    MAX_BLOCKS,
    MAX_BOOT_FILE,
    MAX_CONTENTS,
    SET,
    BootFile,
    StandaloneContents,
    StandaloneSet,
    contents_path,
)
from formats.envelope import MAX_ENVELOPE
from formats.errors import FormatError, NotForUsError
from formats.iso.boot import BIOS, BOOT_RECORD_BLOCK, CATALOG, EFI, read_boot_record, read_catalog, without_table
from formats.iso.layout import BLOCK as ISO_BLOCK
from formats.records import format_time, read_named

_MOST_KEY = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscFindings:
    """What was found of a disc: its number, bytes read, damaged blocks, and what is wrong, in words."""

    disc: int
    name: str
    bytes: int
    damaged_blocks: int
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetVerdict:
    """What was found of all discs that were given. ``missing``: numbers of discs of the set that were not.

    ``decrypted``: whether the contents were read, which needs the passphrase where there is one.
    """

    document: StandaloneSet
    discs: tuple[DiscFindings, ...]
    missing: tuple[int, ...]
    decrypted: bool
    notes: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong with the discs."""
        return tuple(f"{disc.name}: {problem}" for disc in self.discs for problem in disc.problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetList:
    """The set list of a disc, verified: the document, and its envelope, which all discs of the set have alike."""

    document: StandaloneSet
    envelope: bytes


def read_set(disc: OpenDisc, trust: Trust, *, now_ns: int) -> SetList:
    """The set list of a disc, verified. Raises `RefusedError` where it is not signed as it should be, or is missing."""
    envelope = read_document(disc, SET, MAX_ENVELOPE)
    document, _ = trust.verify(envelope, standalone_doc.KIND, now_ns=now_ns, where=f"{disc.name}: {SET}")
    return SetList(document=document, envelope=envelope)


def read_document(disc: OpenDisc, path: str, most: int) -> bytes:
    """A small file of a disc, of at most ``most`` bytes. Raises `RefusedError` where it is not there or is larger."""
    try:
        with disc.open(path) as source:
            data = source.read(most + 1)
    except KeyError:
        raise RefusedError(
            f"{disc.name} is no disc of stand-alone media: it has no {path}",
            hint="give an image or a disc that courier standalone create made",
            code=Code.NOT_A_VOLUME,
        ) from None
    except FormatError as error:
        raise explain(error, where=disc.name) from None
    if len(data) > most:
        raise RefusedError(
            f"{disc.name}: {path} has more than {most:,} bytes", hint="it was altered", code=Code.TOO_LARGE
        )
    return data


def read_bound(disc: OpenDisc, path: str, ref: TableRef, most: int) -> bytes:
    """A file of a disc that the set list binds by size and digest. Raises `RefusedError` where it is another."""
    data = read_document(disc, path, min(most, ref.size))
    if len(data) != ref.size or sha256_hex(data) != ref.sha256:
        raise RefusedError(
            f"{disc.name}: {path} differs from the set list",
            hint="read it in another drive, or copy the image onto a new medium",
            code=Code.DIGEST_MISMATCH,
        )
    return data


def disc_number(disc: OpenDisc, document: StandaloneSet) -> int | None:
    """The number that a disc says it has in a set; None where its volume ID is of another."""
    names = {document.disc_name(number): number for number in range(1, document.discs + 1)}
    return names.get(disc.volume)


def check_disc(
    disc: OpenDisc, document: StandaloneSet, envelope: bytes, *, progress: Progress = SILENT
) -> DiscFindings:
    """Compare every file of a disc but the card with its set list, which is verified, and what it boots by.

    Findings are collected; only what makes going on senseless raises `CourierError` or `OSError`.
    """
    number = disc_number(disc, document)
    if number is None:
        why = f"its volume ID is {disc.volume!a}, which is no disc of {document.deployment}"
        return DiscFindings(disc=0, name=disc.name, bytes=0, damaged_blocks=0, problems=(why,))
    check = _Check(disc, document, number, progress)
    check.documents(envelope)
    check.pieces()
    if number == 1:
        check.boot()
    check.others()
    check.tables()
    return DiscFindings(
        disc=number,
        name=disc.name,
        bytes=check.bytes,
        damaged_blocks=check.damaged,
        problems=tuple(check.problems),
    )


class _Check:
    def __init__(self, disc: OpenDisc, document: StandaloneSet, number: int, progress: Progress) -> None:
        self._disc, self._document, self._number, self._progress = disc, document, number, progress
        self._sizes = dict(disc.files)
        self._expected: set[str] = set()
        self.problems: list[str] = []
        self.bytes = 0
        self.damaged = 0

    def documents(self, envelope: bytes) -> None:
        document = self._document
        expected = {SET: TableRef(size=len(envelope), sha256=sha256_hex(envelope)), BLOCKS: document.blocks}
        expected[contents_path(encrypted=document.encrypted)] = document.contents
        if document.key is not None:
            expected[KEY] = document.key
        for path, ref in expected.items():
            self._whole(path, ref.size, ref.sha256)
        # The card proves nothing, and is there for people: whoever verifies has their own.
        self._expected.add(CARD)
        if CARD not in self._sizes:
            self.problems.append(f"{CARD} is missing")

    def pieces(self) -> None:
        document = self._document
        table = self._table()
        for index, piece in enumerate(document.pieces):
            if piece.disc != self._number:
                continue
            with self._opened(piece.path, piece.size) as source:
                if source is None:
                    continue
                if table is None:
                    if _digest(source, self._count) != piece.sha256:
                        self.problems.append(f"{piece.path} differs from its digest")
                    continue
                bad = list(table.bad_blocks(source, index, [1] * table.count(index), self._count))
                if bad:
                    self.damaged += len(bad)
                    self.problems.append(f"{piece.path}: damaged block{'s' * (len(bad) > 1)} {dashed(ranges(bad))}")

    def _table(self) -> BlockTable | None:
        """The block table; None where it is damaged itself, and then files are compared as wholes."""
        try:
            data = read_bound(self._disc, BLOCKS, self._document.blocks, MAX_BLOCKS)
        except (CourierError, OSError):
            return None
        return BlockTable(data, [piece.size for piece in self._document.pieces])

    def boot(self) -> None:
        for file in self._document.boot:
            with self._opened(file.path, file.size) as source:
                if source is not None and not _is_boot_file(file, source, self._count):
                    self.problems.append(f"{file.path} differs from its digest")

    def others(self) -> None:
        allowed = {CATALOG} if self._number == 1 and self._disc.layout == "iso" else set()
        for path in sorted(self._sizes.keys() - self._expected - allowed)[:5]:
            self.problems.append(f"{path} is not in the set list")

    def tables(self) -> None:
        """Compare boot catalogue and partition table with the files that they name."""
        if self._disc.layout != self._document.layout:
            self.problems.append(f"it has the layout {self._disc.layout}, and the set {self._document.layout}")
        if self._disc.gpt is None:
            self.problems.append(f"its partition table: {self._disc.fault}")
        if self._disc.layout == "iso" and self._number == 1:
            try:
                self.problems += _catalogue_problems(self._disc, self._document)
            except (FormatError, KeyError) as error:
                self.problems.append(f"its boot catalogue: {error}")

    def _whole(self, path: str, size: int, sha256: str) -> None:
        with self._opened(path, size) as source:
            if source is not None and _digest(source, self._count) != sha256:
                self.problems.append(f"{path} differs from its digest")

    def _count(self, count: int) -> None:
        self.bytes += count
        self._progress(count)

    @contextlib.contextmanager
    def _opened(self, path: str, size: int) -> Iterator[BinaryIO | None]:
        """A file of the right size; None where there is none. What cannot be read becomes a problem."""
        self._expected.add(path)
        if self._sizes.get(path) != size:
            there = f"has {self._sizes[path]:,} bytes, not {size:,}" if path in self._sizes else "is missing"
            self.problems.append(f"{path} {there}")
            yield None
            return
        try:
            with self._disc.open(path) as source:
                yield source
        except (OSError, FormatError) as error:
            self.problems.append(f"{path} cannot be read: {error}")


def _is_boot_file(file: BootFile, source: BinaryIO, progress: Callable[[int], None]) -> bool:
    """Whether a file of a disc, of the right size, is the one that the set list names.

    A boot information table is left out of it.
    """
    if not file.table:
        return _digest(source, progress) == file.sha256
    data = source.read(MAX_BOOT_FILE)
    progress(len(data))
    return len(data) == file.size and sha256_hex(without_table(data)) == file.sha256


def _digest(source: BinaryIO, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    while data := source.read(CHUNK):
        digest.update(data)
        progress(len(data))
    return digest.hexdigest()


def _catalogue_problems(disc: OpenDisc, document: StandaloneSet) -> list[str]:
    """What is wrong with the boot catalogue of disc 1: it must start files of the set list that are what they seem."""
    disc.source.seek(BOOT_RECORD_BLOCK * ISO_BLOCK)
    block = read_boot_record(disc.source.read(ISO_BLOCK))
    if block is None:
        return ["it has no boot record"]
    disc.source.seek(block * ISO_BLOCK)
    entries = read_catalog(disc.source.read(ISO_BLOCK))
    problems = []
    for entry in entries:
        disc.source.seek(entry.block * ISO_BLOCK)
        start = disc.source.read(SECTOR)
        if entry.platform == EFI and not has_boot_mark(start):
            problems.append("its boot image for EFI is no file system")
        if entry.platform == BIOS and all(_start_of(disc, file.path) != start for file in document.boot):
            problems.append("its boot image for BIOS is no file of the set")
    if disc.gpt is not None:
        parts = [part.first * SECTOR for part in disc.gpt.partitions if part.name == "EFI"]
        blocks = [entry.block * ISO_BLOCK for entry in entries if entry.platform == EFI]
        if parts != blocks:
            problems.append("its partition table and boot catalogue name different images for EFI")
    return problems


def _start_of(disc: OpenDisc, path: str) -> bytes:
    with disc.open(path) as source:
        return source.read(512)


def verify_discs(
    paths: Sequence[Path], trust: Trust, *, passphrase: str = "", progress: Progress = SILENT
) -> SetVerdict:
    """Verify discs of one set. ``passphrase``: where it is given, the contents are decrypted and looked at as well.

    Raises `RefusedError` for a disc that is not signed, is of another set than the first, or is given twice, and where
    the passphrase is wrong; and `OSError`. Damage is in the verdict.
    """
    first: SetList | None = None
    discs: list[DiscFindings] = []
    found: dict[int, str] = {}
    decrypted = False
    now_ns = now()
    for path in paths:
        try:
            with open_disc(path) as disc:
                listed = read_set(disc, trust, now_ns=now_ns)
                if first is None:
                    first = listed
                    if passphrase or not listed.document.encrypted:
                        read_contents(disc, listed, trust, passphrase=passphrase, now_ns=now_ns)
                        decrypted = True
                check_same(first, listed, disc)
                number = disc_number(disc, listed.document)
                if number in found:
                    raise doubled(disc, found[number])
                progress.begin(f"verifying {disc.volume}", sum(size for _, size in disc.files))
                findings = check_disc(disc, listed.document, listed.envelope, progress=progress)
                discs.append(findings)
                if number is not None:
                    found[number] = disc.name
        except OSError as error:
            raise explain_os(error) from None
    assert first is not None
    document = first.document
    missing = tuple(disc for disc in range(1, document.discs + 1) if disc not in found)
    return SetVerdict(
        document=document,
        discs=tuple(discs),
        missing=missing,
        decrypted=decrypted,
        notes=_notes(document, missing, decrypted=decrypted, now_ns=now_ns),
    )


def check_same(first: SetList, other: SetList, disc: OpenDisc) -> None:
    """Raise `RefusedError` for a disc of another set than the first one's."""
    if first.envelope != other.envelope:
        raise RefusedError(
            f"{disc.name} is {disc.volume}, of the set {other.document.deployment}, not of {first.document.deployment}",
            hint=f"give discs of one set: {first.document.disc_name(1)} and so on",
            code=Code.MIXED_VOLUME,
        )


def doubled(disc: OpenDisc, before: str) -> RefusedError:
    """The error for a disc that was there already."""
    return RefusedError(
        f"{disc.name} is {disc.volume} again, as {before}", hint="give each disc once", code=Code.MIXED_VOLUME
    )


def _notes(document: StandaloneSet, missing: Sequence[int], *, decrypted: bool, now_ns: int) -> tuple[str, ...]:
    notes = []
    if missing:
        names = ", ".join(document.disc_name(disc) for disc in missing[:5])
        notes.append(f"not given: {plural(len(missing), 'disc')}: {names}{'...' * (len(missing) > 5)}")
    if not decrypted:
        notes.append("the contents were not decrypted: give --passphrase-file to check that the passphrase opens them")
    with_clock = validity_problem(document, now_ns)
    if with_clock:
        notes.append(with_clock)
    return tuple(notes)


def validity_problem(document: StandaloneSet, now_ns: int) -> str:
    """Why the set may not be used at this time; empty where it may."""
    moment = f"by this computer's clock it is {format_time(now_ns)[:16]}Z"
    if document.valid_from_ns is not None and now_ns < document.valid_from_ns:
        return f"{document.deployment} is valid from {format_time(document.valid_from_ns)[:16]}Z on; {moment}"
    if document.valid_until_ns is not None and now_ns >= document.valid_until_ns:
        return f"{document.deployment} was valid until {format_time(document.valid_until_ns)[:16]}Z; {moment}"
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenContents:
    """The contents of a set, and its policy, verified; ``identity`` decrypts its pieces, where they are encrypted."""

    contents: StandaloneContents
    policy: DeploymentPolicy
    identity: Identity | None


def read_contents(disc: OpenDisc, listed: SetList, trust: Trust, *, passphrase: str, now_ns: int) -> OpenContents:
    """The contents of a set from one of its discs. Raises `RefusedError` where the passphrase is wrong, or altered."""
    document = listed.document
    data = read_bound(disc, contents_path(encrypted=document.encrypted), document.contents, MAX_CONTENTS)
    identity = None
    try:
        if document.key is not None:
            identity = _identity(read_bound(disc, KEY, document.key, _MOST_KEY), passphrase)
            with open_encrypted(io.BytesIO(data), [identity]) as source:
                data = source.read()
        contents = read_named(StandaloneContents, data)
    except FormatError as error:
        raise explain(error, where=f"{disc.name}: the contents") from None
    policy, _ = trust.verify(contents.policy, deployment_doc.KIND, now_ns=now_ns, where=f"{disc.name}: the policy")
    if (policy.site, policy.deployment, policy.computer) != (document.site, document.deployment, None):
        raise RefusedError(
            f"{disc.name}: its policy is of another deployment", hint="make the set anew", code=Code.WRONG_SITE
        )
    if sum(len(file.pieces) for file in contents.files) != len(document.pieces):
        raise RefusedError(
            f"{disc.name}: its contents and its set list have different pieces",
            hint="make the set anew",
            code=Code.MALFORMED,
        )
    return OpenContents(contents=contents, policy=policy, identity=identity)


def _identity(data: bytes, passphrase: str) -> Identity:
    if not passphrase:
        raise RefusedError(
            "the set is encrypted, and no passphrase was given",
            hint="--passphrase-file FILE, with the passphrase on its first line",
            code=Code.SECRET_NEEDED,
        )
    try:
        return Identity.from_text(decrypt_secret(data, passphrase).decode("ascii", "replace"))
    except NotForUsError:
        raise RefusedError(
            "the passphrase does not open the set", hint="check it, and its case", code=Code.WRONG_PASSPHRASE
        ) from None
