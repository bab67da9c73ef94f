"""A volume whose payload is written before its documents are known: these have their exact places kept for them.

It lies under a temporary name beside its target, with zeros where its documents will be, so that nothing takes it for a
volume. The payload is read back from the medium as soon as it is written; once the documents are put in their places,
these are read back too, and the volume gets its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError, UsageError
from courier.files import TEMP, let_all_read, make_folder, remove_tree, sync_file, sync_folder, writing_out
from courier.media.checked_stream import SourceFile, tagged
from courier.media.reading import FolderMedium, IsoMedium, Layout, Medium
from courier.media.volume_files import writing_order
from courier.media.writing import VolumeSource, compare, flush_tree, forget_cached
from courier.media.written_tags import WrittenTags
from courier.niceties import set_time
from formats.digest import CHUNK
from formats.iso import IsoFile, write_iso
from formats.iso.layout import BLOCK
from formats.streams import View


class VolumeInMaking:
    """A volume in the making for ``target``, as a folder or an ISO image.

    ``label``, ``publisher`` and ``made_ns`` are those of `VolumeSource`.
    """

    def __init__(self, target: Path, layout: Layout, *, label: str, publisher: str, made_ns: int) -> None:
        self.target = target
        self.temporary = target.with_name(f"{TEMP}{os.getpid()}-{target.name[-40:]}")
        self._layout = layout
        self._label = label
        self._publisher = publisher
        self._made_ns = made_ns
        self._tags = WrittenTags()
        self._blocks: Mapping[str, int] = {}
        self._places: dict[str, int] = {}
        self._payload: list[SourceFile] = []
        self._disk = -1
        """The number of the disk that it lies on; -1 before it is begun."""

    @property
    def is_begun(self) -> bool:
        """Whether anything of it may have been written."""
        return self._disk >= 0

    @property
    def document_bytes(self) -> int:
        """Bytes of the places that are kept."""
        return sum(self._places.values())

    def write(self, places: Mapping[str, int], payload: Sequence[SourceFile], progress: Callable[[int], None]) -> None:
        """Write the payload, and keep ``places`` (bytes by path) for the documents.

        The digests of the payload need not be known; its streams answer for what they give. Raises `UsageError` where
        something stands at the target.
        """
        make_folder(self.target.parent, readable=True)
        if self.target.exists():
            raise UsageError(f"{self.target} exists", hint="name another folder, or remove it")
        self._places, self._payload = dict(places), list(payload)
        self._disk = self.target.parent.stat().st_dev
        remove_tree(self.temporary)
        if self._layout == "iso":
            self._write_image(progress)
        else:
            self._write_folder(progress)

    def _write_image(self, progress: Callable[[int], None]) -> None:
        with self.temporary.open("x+b") as out:
            copied = writing_out(out, progress)
            files = [
                *(IsoFile(path=path, size=size, open=_zeros(size, copied)) for path, size in self._places.items()),
                *(
                    IsoFile(path=file.path, size=file.size, open=tagged(file, copied, self._tags))
                    for file in self._payload
                ),
            ]
            files.sort(key=lambda file: writing_order(file.path))
            self._blocks = write_iso(
                out,
                files,
                volume_id=self._label,
                publisher=self._publisher,
                application="COURIER PARCEL",
                created_ns=self._made_ns,
            )

    def _write_folder(self, progress: Callable[[int], None]) -> None:
        self.temporary.mkdir()
        for file in self._payload:
            path = self._path(file.path)
            with path.open("xb") as out, tagged(file, writing_out(out, progress), self._tags)() as stream:
                while data := stream.read(CHUNK):
                    out.write(data)
            set_time(path, self._made_ns)

    def _path(self, path: str) -> Path:
        place = self.temporary.joinpath(*path.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def read_payload(self, progress: Callable[[int], None]) -> None:
        """Flush the payload to the medium and read it back from there, not from memory; raises `DamagedError`."""
        self._flush()
        compare(self._medium(), self._payload, progress, self._tags, passed_over=self._places)

    def complete(self, source: VolumeSource, progress: Callable[[int], None]) -> int:
        """Put the documents of ``source`` in their places, read them back, and give the volume its name.

        Return its bytes. Raises `DamagedError` where the medium does not hold them, or one has not the size of its
        place.
        """
        payload = {file.path for file in self._payload}
        documents = [file for file in source.files if file.path not in payload]
        if {file.path: file.size for file in documents} != self._places:
            raise DamagedError(
                f"{source.label}: its documents have not the sizes of the places kept for them",
                hint="write the volume from the parcel, which is built: courier parcel write",
                code=Code.BUILD_DAMAGED,
            )
        if self._layout == "iso":
            with self.temporary.open("r+b") as out:
                for file in documents:
                    if file.size:
                        out.seek(self._blocks[file.path] * BLOCK)
                        _copy(file, out, progress)
        else:
            for file in documents:
                with self._path(file.path).open("xb") as out:
                    _copy(file, out, progress)
                set_time(self._path(file.path), self._made_ns)
        self._flush()
        compare(self._medium(), documents, progress, None, passed_over=payload)
        size = self._let_all_read()
        self.temporary.rename(self.target)
        sync_folder(self.target.parent)
        return size

    def _let_all_read(self) -> int:
        """Let everyone read what is on the volume; return its bytes."""
        let_all_read(self.temporary)
        if self._layout == "iso":
            return self.temporary.stat().st_size
        total = 0
        for folder, _, names in os.walk(self.temporary):
            let_all_read(Path(folder))
            for path in (Path(folder, name) for name in names):
                let_all_read(path)
                total += path.stat().st_size
        return total

    def _flush(self) -> None:
        if self._layout != "iso":
            flush_tree(self.temporary)
            return
        with self.temporary.open("r+b") as out:
            sync_file(out.fileno(), self.target)
        forget_cached(self.temporary)

    def _medium(self) -> Medium:
        return IsoMedium(self.temporary) if self._layout == "iso" else FolderMedium(self.temporary)

    def give_up(self) -> None:
        """Remove what there is of it, as far as its medium is still here; ask `is_gone` afterwards."""
        remove_tree(self.temporary)

    def is_gone(self) -> bool:
        """Whether nothing lies there, which is not known where the medium, or its folder, is away."""
        try:
            return self.temporary.parent.stat().st_dev == self._disk and not os.path.lexists(self.temporary)
        except OSError:
            return False


class _Zeros(View):
    def _fill(self, into: memoryview) -> int:
        count = min(len(into), self.size - self._position)
        into[:count] = bytes(count)
        return count


def _zeros(size: int, progress: Callable[[int], None]) -> Callable[[], BinaryIO]:
    def open_it() -> BinaryIO:
        progress(size)
        return _Zeros(size)

    return open_it


def _copy(file: SourceFile, out: BinaryIO, progress: Callable[[int], None]) -> None:
    with file.open() as source:
        while data := source.read(CHUNK):
            out.write(data)
            progress(len(data))
