"""What an image of a package is, as far as its first and last bytes tell: enough to judge whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from courier.deployment.run import gpt
from courier.deployment.run.content import PackageFiles
from courier.deployment.run.file_systems import kind_of
from courier.deployment.run.wim import HEADER, WimImage, is_wim, read_images
from courier.deployment.sequence import ApplyImageStep, FileSystem
from courier.errors import NotFoundError, UsageError
from formats.documents.listing import FileEntry, HardLinkEntry

_HEAD = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class RawVolume:
    """A partition in the raw image of a disk."""

    size: int
    file_system: FileSystem


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """An image file. ``images``: of a WIM; None for a raw image, of which the others tell.

    ``sector``: the bytes of a sector that its partition table was made for; None without a table. ``needs``: the bytes
    of the disk that its partitions take.
    """

    name: str
    size: int
    images: tuple[WimImage, ...] | None
    file_system: FileSystem = "none"
    sector: int | None = None
    volumes: dict[str, RawVolume] | None = None


def image_file(files: PackageFiles, step: ApplyImageStep) -> FileEntry:
    """The file that a step names in its package, or the only one there. Raises `NotFoundError`, `UsageError`."""
    found: list[FileEntry] = []
    count = 0
    wanted = step.file
    entries = {}
    for entry in files.entries():
        if isinstance(entry, FileEntry):
            count += 1
            if entry.path == wanted or (not wanted and count == 1):
                found.append(entry)
            if entry.further_names and wanted:
                entries[entry.path] = entry
        elif isinstance(entry, HardLinkEntry) and entry.path == wanted:
            found.append(entries[entry.first])
    name = f"{files.ref.package}:{files.ref.version}"
    if not wanted and count > 1:
        raise UsageError(f"{name} has {count:,} files", hint="name one in the step of the task sequence: file = PATH")
    if not found:
        raise NotFoundError(
            f"{name} has no {'file ' + wanted if wanted else 'file'}",
            hint=f"courier package show {name} --files tells what it has",
        )
    return found[0]


def image_facts(files: PackageFiles, step: ApplyImageStep) -> ImageFacts:
    """What the image of a step is. Raises as `image_file` does, and `DamagedError`."""
    entry = image_file(files, step)
    name = f"{entry.path} of {files.ref.package}:{files.ref.version}"

    def read_at(offset: int, count: int) -> bytes:
        return files.read_at(entry, offset, count)

    head = read_at(0, _HEAD)
    if is_wim(head[:HEADER], where=name):
        return ImageFacts(name=name, size=entry.size, images=tuple(read_images(read_at, where=name)))
    table = gpt.read_table(read_at) if step.whole_disk else None
    volumes = None
    if table is not None:
        volumes = {
            span.label: RawVolume(size=span.size, file_system=kind_of(read_at(span.begin, _HEAD)))
            for span in reversed(table.spans)
        }
    return ImageFacts(
        name=name,
        size=entry.size,
        images=None,
        file_system=kind_of(head),
        sector=table.sector if table else None,
        volumes=volumes,
    )
