"""Making files of a built parcel again, out of the store, after they were discarded or went bad on our disk.

A build is reproducible: the members of its archives stand in its contents (kept in clear at the sender), their times
in the listings, the keys of sealed files come from the parcel's seed. What comes out is compared with the signed
packing list and kept only if it is the same to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from courier.build import Builder
from courier.errors import CourierError, Damaged, explain
from courier.files import locked, make_folder, require_space
from courier.plan import Content, PlannedArchive, PlannedMember
from courier.protecting import make_parity
from courier.sealing import BY_NETWORK, PARCEL_KEY, SEED, ParcelSealer
from courier.send import CONTENTS, MEMBERS, RECIPE, OutgoingParcel, parity_name
from courier.site import Site
from formats.documents.contents import ContentsReader, MemberRecord
from formats.documents.listing import FileEntry
from formats.errors import FormatError
from formats.records import open_document

HINT = "read it from media of the parcel that are still here, or create a new parcel"


def is_whole(parcel: OutgoingParcel, index: int) -> bool:
    """Whether file ``index`` lies on our disk with its right size."""
    path = parcel.file(index)
    return path.exists() and path.stat().st_size == parcel.packing.files()[index].size


def ensure_files(
    site: Site, parcel: OutgoingParcel, indexes: Iterable[int], progress: Callable[[int], None] = lambda _: None
) -> int:
    """Have these files (of ``packing.files()``) on our disk; return how many archives and parity files were made again.

    Raises `Damaged` where one cannot be made again as it was, and says why; `NoSpace`.
    """
    packing, first = parcel.packing, len(parcel.packing.archives)
    with locked(site.home / "parcels" / "out" / "lock"):
        lost = [index for index in sorted(set(indexes)) if not is_whole(parcel, index)]
        if not lost:
            return 0
        parity = [index for index in range(first, len(packing.files())) if not is_whole(parcel, index)]
        parity = parity if lost[-1] >= first else []
        archives = [index for index in range(first) if not is_whole(parcel, index)] if parity else lost
        sizes = packing.files()
        require_space(site.home, sum(sizes[n].size for n in (*archives, *parity)), purpose="building it again")
        make_archives(site, parcel, archives, make_folder(parcel.folder / "archives"), progress)
        if parity:
            _make_parity(parcel)
        return len(archives) + len(parity)


def make_archives(
    site: Site,
    parcel: OutgoingParcel,
    indexes: Sequence[int],
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Path]:
    """Build these archives again into ``folder``; raises `Damaged` where one comes out differently, or cannot be."""
    name, packing = parcel.sent.parcel, parcel.packing
    if not indexes:
        return []
    level, recipients = _recipe(parcel)
    keys = [SEED, *([PARCEL_KEY] if BY_NETWORK in recipients else [])] if recipients else []
    if not all((parcel.folder / key).exists() for key in keys):
        raise Damaged(f"{name}: the keys of its encryption are not kept here any more", hint=HINT, code="no-recipe")
    sealer = ParcelSealer.in_folder(parcel.folder, recipients) if recipients else None
    paths = [folder / parcel.file(index).name for index in indexes]
    for path in paths:
        path.unlink(missing_ok=True)
    builder = Builder(folder, site.store.open_content, level=level, sealer=sealer, progress=progress)
    try:
        built = builder.build(_planned(parcel, {index + 1 for index in indexes}))
    except FormatError as error:
        raise explain(error, where=f"{name}: its contents as kept here") from None
    except CourierError as error:
        raise Damaged(
            f"{name}: archives cannot be built again from the store: {error.message}", hint=HINT, code="no-content"
        ) from None
    for index, path, archive in zip(indexes, paths, built, strict=True):
        if archive.sha256 != packing.archives[index].sha256:
            path.unlink()
            raise Damaged(
                f"{name}: archive {index + 1}, built again, differs from the signed packing list "
                "(another version of a compression library builds otherwise)",
                hint=HINT,
                code="not-reproducible",
            )
    return paths


def _recipe(parcel: OutgoingParcel) -> tuple[int, list[str]]:
    """zstd's level, and the recipients it was sealed for."""
    try:
        fields = open_document((parcel.folder / RECIPE).read_bytes(), name="recipe")
    except (FileNotFoundError, FormatError):
        raise Damaged(f"{parcel.sent.parcel}: how it was built is not kept here", hint=HINT, code="no-recipe") from None
    return fields.integer("level"), fields.texts("recipients")


def _planned(parcel: OutgoingParcel, numbers: set[int]) -> list[PlannedArchive]:
    """The archives of these numbers as they were planned, from the contents: once for members, once for times."""
    members: dict[int, list[MemberRecord]] = {}
    with _contents(parcel).open("rb") as source:
        reader = _reader(parcel, source)
        for _, entries in reader.packages():
            for _ in entries:
                pass
        for number, records in reader.archives():
            if number in numbers:
                members[number] = records
    wanted = {record.sha256 for records in members.values() for record in records}
    found: dict[str, tuple[str, int]] = {}
    with _contents(parcel).open("rb") as source:
        for _, entries in _reader(parcel, source).packages():
            for entry in entries:
                # A content has the time of the first file that holds it, as when it was planned.
                if isinstance(entry, FileEntry) and entry.sha256 in wanted and entry.sha256 not in found:
                    found[entry.sha256] = entry.path, entry.mtime_ns
    return [
        PlannedArchive(number=number, members=tuple(_member(record, *found[record.sha256]) for record in records))
        for number, records in sorted(members.items())
    ]


def _contents(parcel: OutgoingParcel) -> Path:
    path = parcel.folder / (MEMBERS if parcel.packing.sealed else CONTENTS)
    if not path.exists():
        raise Damaged(f"{parcel.sent.parcel}: its contents are not kept here", hint=HINT, code="no-recipe")
    return path


def _reader(parcel: OutgoingParcel, source: object) -> ContentsReader:
    return ContentsReader(source, parcel=parcel.sent.parcel, archives=len(parcel.packing.archives))  # type: ignore[arg-type]


def _member(record: MemberRecord, path: str, mtime_ns: int) -> PlannedMember:
    content = Content(
        sha256=record.sha256, size=record.of, mtime_ns=mtime_ns, folder="", path=path, coding=record.coding
    )
    return PlannedMember(name=record.name, content=content, offset=record.offset, length=record.length)


def _make_parity(parcel: OutgoingParcel) -> None:
    make_folder(parcel.folder / parity_name(parcel.packing.edition))
    made = make_parity(parcel.packing, parcel.file)
    for file, (sha256, _) in zip(parcel.packing.parity, made, strict=True):
        if file.sha256 != sha256:
            parcel.file(len(parcel.packing.archives) + file.number - 1).unlink()
            raise Damaged(
                f"{parcel.sent.parcel}: parity file {file.number}, made again, differs from the signed packing list",
                hint="an archive changed on our disk: courier parcel discard it, then write it again",
                code="not-reproducible",
            )
