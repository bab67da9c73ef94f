"""What an image of a package is, as far as its first and last bytes tell: enough to judge whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from courier.deployment.run.facts import ImageFacts, RawVolume
from courier.deployment.run.file_system_kinds import kind_of
from courier.deployment.run.partitions import check_within, read_table
from courier.deployment.run.wim import HEADER, is_wim, read_images
from courier.deployment.sequence import ApplyImageStep
from courier.errors import NotFoundError, UsageError
from formats.disk.gpt import SECTOR
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry, HardLinkEntry

_HEAD = 2048


class ImageSource(Protocol):
    """The files of a package version, as far as the judgement of an image needs them."""

    @property
    def ref(self) -> PackageRef:
        """Which it is."""

    def entries(self) -> Iterator[Entry]:
        """Its listing."""

    def read_at(self, entry: FileEntry, offset: int, count: int) -> bytes:
        """Bytes of a file, fewer at its end."""


def image_file(files: ImageSource, step: ApplyImageStep) -> FileEntry:
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
            hint=f"courier package show {name}",
        )
    return found[0]


def image_facts(files: ImageSource, step: ApplyImageStep) -> ImageFacts:
    """What the image of a step is. Raises as `image_file` does, and `DamagedError`."""
    entry = image_file(files, step)
    name = f"{entry.path} of {files.ref.package}:{files.ref.version}"

    def read_at(offset: int, count: int) -> bytes:
        return files.read_at(entry, offset, count)

    head = read_at(0, _HEAD)
    if is_wim(head[:HEADER], where=name):
        return ImageFacts(name=name, size=entry.size, images=tuple(read_images(read_at, where=name)))
    table = read_table(read_at) if step.whole_disk else None
    volumes = None
    if table is not None:
        if table.sector == SECTOR:  # one for other sectors is refused for that
            check_within(table, entry.size, where=name)
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
