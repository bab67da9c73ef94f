"""Making a set: what it is made of is found and planned, signed, written, read back, and then appears under its name.

A set in a folder is what the folder's ``set.json`` says. A new one is built in a folder of its own below it, and its
images get their names only when all of them have been read back; then ``set.json`` is replaced, by one rename, and what
the old one named is deleted. A command that is killed before that leaves the old set as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from courier.deployment.standalone.boot_files import BootItem, BootPlan, plan_boot
from courier.deployment.standalone.disc_image import SUFFIX, DiscImage, write_image
from courier.deployment.standalone.disc_plan import DiscPlan, SizedFile, plan_discs
from courier.deployment.standalone.open_disc import open_disc
from courier.deployment.standalone.pieces import MadePieces, SetKey, make_pieces
from courier.deployment.standalone.point_contents import PointFile, point_contents
from courier.deployment.standalone.request import SetRequest, SetSource, find_source, make_policy
from courier.deployment.standalone.verify import check_disc
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError, explain
from courier.files import (
    TEMP,
    explain_os,
    locked,
    make_folder,
    naming_space,
    remove_tree,
    require_space,
    sync_folder,
    write_atomic,
)
from courier.media.checked_stream import SourceFile
from courier.parcel.transitions import log_entry
from courier.progress import SILENT, Progress
from courier.site.catalog import deployments, parcels
from courier.site.catalog.parcels import LogEntry
from courier.site.clock import now
from courier.site.home import Site
from courier.text import one_line, plural
from formats.age import EncryptingWriter
from formats.age.passphrase import encrypt_secret
from formats.digest import sha256_hex
from formats.documents import deployment as deployment_doc
from formats.documents import standalone as standalone_doc
from formats.documents.packing import TableRef
from formats.documents.standalone import (
    BLOCKS,
    CARD,
    KEY,
    MAX_CONTENTS,
    SET,
    StandaloneContents,
    StandaloneSet,
    contents_path,
)
from formats.envelope import MAX_ENVELOPE, parse_envelope
from formats.errors import FormatError
from formats.records import format_time

SET_FILE = "set.json"
"""File in the folder of a set that says which images are the set: its signed list."""
_LOCK = ".courier-lock"
MADE = "standalone-made"
"""The word in the log of a site for a set that was made."""
_NEW = f"{TEMP}set"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDraft:
    """A set that can be planned for any medium: what it is made of, its files, and what it boots by.

    ``work``: the folder with its listings.
    """

    request: SetRequest
    source: SetSource
    files: tuple[PointFile, ...]
    boot: BootPlan
    policy: int
    work: Path

    def plan(self, capacity: int) -> DiscPlan:
        """How it is spread over media of ``capacity`` usable bytes. Raises `NoSpaceError` where it cannot be."""
        return plan_discs(
            [SizedFile(path=file.path, size=file.size) for file in self.files],
            boot=[SizedFile(path=item.file.path, size=item.file.size) for item in self.boot.items],
            policy=self.policy,
            capacity=capacity,
            layout=self.request.layout,
            encrypted=bool(self.request.passphrase),
        )

    @property
    def bytes(self) -> int:
        """Bytes of all files, and of what boots."""
        return sum(file.size for file in self.files) + sum(item.file.size for item in self.boot.items)


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeSet:
    """A set that was made: its list, its images in order of the discs, and what the operator has to know."""

    document: StandaloneSet
    images: tuple[Path, ...]
    notes: tuple[str, ...]


@contextlib.contextmanager
def drafting(site: Site, request: SetRequest) -> Iterator[SetDraft]:
    """Find what a set is made of; nothing is written but temporary files, which live as long as the block.

    Nothing is signed. Raises `RefusedError`, `NotFoundError` or `UsageError` where it cannot be made.
    """
    source = find_source(site, request)
    created_ns = site.signing_time(now())
    boot = plan_boot(
        site,
        source.boot,
        layout=request.layout,
        bios=request.bios_loaders,
        efi=request.efi_loaders,
        serial=request.serial,
        created_ns=created_ns,
    )
    with tempfile.TemporaryDirectory(prefix=TEMP) as work:
        name = next_set(site)
        files = point_contents(site, source.packages, name=name, work=Path(work), issued_ns=created_ns, sign=False)
        policy = make_policy(site, source, request, deployment=name, issued_ns=created_ns)
        yield SetDraft(
            request=request,
            source=source,
            files=tuple(files),
            boot=boot,
            policy=2 * len(policy.payload()) + 4096,
            work=Path(work),
        )


def next_set(site: Site) -> str:
    """The ID that the next set gets; nothing is reserved."""
    with site.catalogue.reading() as connection:
        return deployments.coming_id(connection, site.code)


def _take_set(site: Site) -> str:
    with site.catalogue.writing() as connection:
        return deployments.next_id(connection, site.code)


def create_set(
    site: Site, request: SetRequest, *, media: str, capacity: int, out: Path, progress: Progress = SILENT
) -> MadeSet:
    """Make a set for media of a kind, of ``capacity`` usable bytes, in the folder ``out``.

    Raises `NoSpaceError` before anything is written where the disk has no room or the medium is too small,
    `RefusedError` and `NotFoundError` as `drafting` does, and `DamagedError` where an image does not read back as it
    was written.
    """
    site.check_key()
    with drafting(site, request) as draft:
        plan = draft.plan(capacity)
        _check_out(out)
        make_folder(out)
        with locked(out / _LOCK):
            _tidy(out)
            purpose = f"making {plan.discs} images"
            least = draft.bytes
            require_space(out, least, purpose=purpose)
            with naming_space(out, lambda: least, purpose=purpose):
                try:
                    made = _make(site, draft, media=media, capacity=capacity, out=out, progress=progress)
                finally:
                    _tidy(out)
            _note(site, draft, made.document, out)
            return made


def _note(site: Site, draft: SetDraft, document: StandaloneSet, out: Path) -> None:
    """Enter a set that was made into the log of the site, so that `made_sets` has it."""
    packages = ", ".join(f"{one.package}:{one.version}" for one in draft.source.packages)
    until = document.valid_until_ns
    end = "" if until is None else f"; refuses to run from {format_time(until)[:16]}Z on"
    media = f"{plural(document.discs, 'medium', 'media')} of kind {document.media}"
    text = f"{document.deployment} ({document.name}): {media} in {out.absolute()}; {packages}{end}"
    with site.catalogue.writing() as connection:
        parcels.write_log(connection, log_entry(site, "", MADE, one_line(text)))


def made_sets(site: Site) -> list[LogEntry]:
    """The sets that were made here, in order: each by an entry of the log, whose text begins with its ID."""
    with site.catalogue.reading() as connection:
        return parcels.read_log_of(connection, "", MADE)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RefusedError(f"{out} is not a folder", hint="name a folder for the images", code=Code.TARGET_EXISTS)


def _make(site: Site, draft: SetDraft, *, media: str, capacity: int, out: Path, progress: Progress) -> MadeSet:
    request = draft.request
    new = make_folder(out / _NEW)
    # The number is taken only now: what fails before takes none, and the point is called by the number.
    name = _take_set(site)
    created_ns = site.signing_time(now())
    files = point_contents(site, draft.source.packages, name=name, work=draft.work, issued_ns=created_ns, sign=True)
    # Names and dates differ from those of the draft, and perhaps the number of digits of a serial.
    if [file.path for file in files] != [file.path for file in draft.files]:
        raise RefusedError("the packages changed meanwhile", hint="give the same command again", code=Code.BUSY)
    plan = replace(draft, files=tuple(files)).plan(capacity)
    key = SetKey.generate() if request.passphrase else None
    made = make_pieces(files, plan, key=key, table=new / "blocks.bin", progress=progress)
    policy = make_policy(site, draft.source, request, deployment=name, issued_ns=created_ns)
    envelope = site.sign(policy.payload(), deployment_doc.TYPE).encode()
    contents = StandaloneContents(policy=envelope, files=made.files).json()
    if len(contents) > MAX_CONTENTS:
        raise RefusedError(
            f"the contents of the set take {len(contents):,} bytes, where {MAX_CONTENTS:,} are read",
            hint="pack folders of many small files into one file of a package: courier package add --pack",
            code=Code.TOO_LARGE,
        )
    documents = {contents_path(encrypted=key is not None): _encrypted(contents, key)}
    if key is not None:
        documents[KEY] = encrypt_secret(key.identity.to_text().encode(), request.passphrase)
    document = _set_of(site, draft, made, documents, name=name, media=media, capacity=capacity, discs=plan.discs)
    signed = site.sign(document.payload(), standalone_doc.TYPE).encode()
    if len(signed) > MAX_ENVELOPE:
        raise RefusedError("the set list is too large", hint="make sets of fewer files", code=Code.TOO_LARGE)
    documents |= {SET: signed, CARD: site.card_envelope}
    images = _images(site, draft, document, made, documents)
    _check_sizes(images, capacity)
    _check_names(images, out)
    return _write(document, images, signed, draft.boot.notes, new=new, out=out, progress=progress)


def _encrypted(data: bytes, key: SetKey | None) -> bytes:
    if key is None:
        return data
    out = io.BytesIO()
    with EncryptingWriter(out, [key.identity.recipient]) as writer:
        writer.write(data)
    return out.getvalue()


def _set_of(
    site: Site,
    draft: SetDraft,
    made: MadePieces,
    documents: dict[str, bytes],
    *,
    name: str,
    media: str,
    capacity: int,
    discs: int,
) -> StandaloneSet:
    with made.table.open("rb") as source:
        blocks = hashlib.file_digest(source, "sha256").hexdigest()
    key = documents.get(KEY)
    document = StandaloneSet(
        site=site.code,
        deployment=name,
        name=draft.request.name or draft.source.name,
        created_ns=site.signing_time(now()),
        layout=draft.request.layout,
        media=media,
        capacity=capacity,
        discs=discs,
        valid_from_ns=draft.request.valid_from_ns,
        valid_until_ns=draft.request.valid_until_ns,
        boot=tuple(item.file for item in draft.boot.items),
        pieces=made.pieces,
        blocks=TableRef(size=made.table.stat().st_size, sha256=blocks),
        contents=_ref(documents[contents_path(encrypted=key is not None)]),
        key=None if key is None else _ref(key),
    )
    # What a reader would refuse is found before it is on media.
    return StandaloneSet.parse(document.payload())


def _ref(data: bytes) -> TableRef:
    return TableRef(size=len(data), sha256=sha256_hex(data))


def _images(
    site: Site, draft: SetDraft, document: StandaloneSet, made: MadePieces, documents: dict[str, bytes]
) -> list[DiscImage]:
    common = [
        SourceFile(path=path, size=len(data), sha256=sha256_hex(data), open=_opening(data))
        for path, data in sorted(documents.items())
    ]
    table = made.table
    common.append(
        SourceFile(path=BLOCKS, size=document.blocks.size, sha256=document.blocks.sha256, open=lambda: table.open("rb"))
    )
    boot = [
        SourceFile(path=item.file.path, size=item.file.size, sha256=_written_digest(item), open=item.open)
        for item in draft.boot.items
    ]
    images = []
    for disc in range(1, document.discs + 1):
        pieces = [made.sources[piece.number - 1] for piece in document.on_disc(disc)]
        first = disc == 1
        images.append(
            DiscImage(
                name=document.disc_name(disc),
                layout=document.layout,
                files=(*(boot if first else []), *common, *pieces),
                publisher=site.settings.name,
                created_ns=document.created_ns,
                boot=draft.boot.images if first and document.layout == "iso" else (),
                mbr=draft.boot.mbr if first else b"",
            )
        )
    return images


def _opening(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def _written_digest(item: BootItem) -> str:
    """The digest of a boot file as it is read here; the set list has that of a loader without its table."""
    if not item.file.table:
        return item.file.sha256
    with item.open() as source:
        return sha256_hex(source.read())


def _check_sizes(images: Sequence[DiscImage], capacity: int) -> None:
    for image in images:
        try:
            size = image.size
        except FormatError as error:
            raise explain(error, where=image.file_name, hint="rename that file in the boot image") from None
        if size > capacity:
            raise RefusedError(
                f"{image.file_name} would have {size:,} bytes, more than the {capacity:,} of the medium",
                hint="choose a larger medium, or a capacity some MB smaller, and report this",
                code=Code.MEDIUM_TOO_SMALL,
            )


def _check_names(images: Sequence[DiscImage], out: Path) -> None:
    """Raise `RefusedError` where something has the name of an image: its number is new, so it is of no set of ours."""
    for image in images:
        if os.path.lexists(out / image.file_name):
            raise RefusedError(
                f"{out / image.file_name} is there already, and is not of the set that is replaced",
                hint="move it away, or name another folder with --out",
                code=Code.TARGET_EXISTS,
            )


def _write(
    document: StandaloneSet,
    images: Sequence[DiscImage],
    signed: bytes,
    notes: Sequence[str],
    *,
    new: Path,
    out: Path,
    progress: Progress,
) -> MadeSet:
    total = sum(image.size for image in images)
    require_space(out, total, purpose=f"making {document.deployment}")
    for disc, image in enumerate(images, 1):
        target = new / image.file_name
        progress.begin(f"writing {image.name}", sum(file.size for file in image.files))
        try:
            write_image(image, target, progress)
        except FormatError as error:
            raise explain(error, where=image.file_name, hint="give the same command again") from None
        except OSError as error:
            raise explain_os(error) from None
        progress.begin(f"reading back {image.name}", image.size)
        _read_back(document, disc, target, signed, progress)
    # From here on a kill leaves images that `set.json` in the temporary folder names, and `_tidy` deletes.
    write_atomic(new / SET_FILE, signed)
    placed = []
    for image in images:
        placed.append((new / image.file_name).replace(out / image.file_name))
    sync_folder(out)
    old = _set_in(out)
    write_atomic(out / SET_FILE, signed, readable=True)
    if old is not None and old.deployment != document.deployment:
        _delete(old, out)
    return MadeSet(document=document, images=tuple(placed), notes=tuple(notes))


def _read_back(document: StandaloneSet, disc: int, target: Path, signed: bytes, progress: Progress) -> None:
    with open_disc(target) as opened:
        found = check_disc(opened, document, signed, progress=progress)
    if found.disc != disc or found.problems:
        why = "; ".join(found.problems) or f"it is disc {found.disc}"
        raise DamagedError(
            f"reading back {target.name}: {why}",
            hint="the disk there is bad, or a file was changed meanwhile: give the same command again",
            code=Code.READ_BACK,
        )


def _set_in(folder: Path) -> StandaloneSet | None:
    """The set list in a folder; None where there is none that can be read. It is this computer's own file."""
    try:
        return StandaloneSet.parse(parse_envelope((folder / SET_FILE).read_bytes()).payload)
    except FileNotFoundError:
        return None
    except FormatError as error:
        raise explain(
            error, where=str(folder / SET_FILE), hint="it is no set of courier: name another folder with --out"
        ) from None


def _delete(old: StandaloneSet, out: Path) -> None:
    for disc in range(1, old.discs + 1):
        (out / (old.disc_name(disc) + SUFFIX[old.layout])).unlink(missing_ok=True)


def _tidy(out: Path) -> None:
    """Delete what a killed command left: images of a set that never became the folder's, then its own folder."""
    new = out / _NEW
    if not new.exists():
        return
    with contextlib.suppress(CourierError):
        left, current = _set_in(new), _set_in(out)
        if left is not None and (current is None or current.deployment != left.deployment):
            _delete(left, out)
    remove_tree(new)
