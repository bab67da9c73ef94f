"""How the files of a set are spread over its discs. Pure arithmetic over sizes.

Files go onto the discs in order. One that does not fit into what is left of a disc is cut there, by bytes: the parts
are put together again before anything reads the file, so any file can be cut, an ESD as well as a WIM. Nothing is cut
for less than a block of 1 MiB, and parts begin at multiples of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import NoSpaceError
from courier.text import plural
from formats.age import encrypted_size
from formats.blocks import BLOCK
from formats.documents.standalone import MAX_DISCS, MAX_PIECE, MAX_PIECES, Layout
from formats.iso import iso_size
from formats.iso.boot import CATALOG
from formats.iso.layout import BLOCK as ISO_BLOCK

_PLAIN_PIECE = MAX_PIECE - 4 * BLOCK
"""Plain bytes of the largest piece of an encrypted set: encrypted it is still no larger than `MAX_PIECE`."""
_DOCUMENTS = 64 << 10
"""Bytes allowed for set list, card, key and contents beside what grows with the files: signatures and names."""
_JSON_OF_PIECE, _JSON_OF_FILE = 420, 420
"""Bytes of a piece in the set list, and of a file in the contents, at most, in base64 where it is."""
_ISO_FILE = 2048 + 800
"""Bytes of structure of a file of an ISO image at most, beside its content in whole blocks."""
_ISO_FOLDER = 6 * 2048
_USB_FILE = 512
_USB_FOLDER = 32 << 10
_LARGEST_CLUSTER = 32 << 10
_TABLES = {"iso": 640 << 10, "usb": 3 << 20}
"""Bytes of a medium, at most, that no file has: descriptors of an image, partition tables and alignment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SizedFile:
    """A file by its path and size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPiece:
    """A part of file number ``file``: ``size`` plain bytes from ``offset`` on, which are on ``disc``."""

    file: int
    offset: int
    size: int
    disc: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscPlan:
    """The pieces in order, and how many discs they take."""

    pieces: tuple[PlannedPiece, ...]
    discs: int


def plan_discs(
    files: Sequence[SizedFile],
    *,
    boot: Sequence[SizedFile],
    policy: int,
    capacity: int,
    layout: Layout,
    encrypted: bool,
) -> DiscPlan:
    """Spread ``files`` over discs of ``capacity`` usable bytes; ``boot`` files are on the first of them besides.

    ``policy``: bytes of the deployment policy, which is on every disc. Raises `NoSpaceError` where a disc is too small
    for what has to be on it, or more than `MAX_DISCS` discs or `MAX_PIECES` pieces would be needed.
    """
    total = sum(file.size for file in files)
    # The documents are on every disc, and grow with the number of pieces, which is not known before.
    extra = min(MAX_DISCS, -(-total // max(1, capacity // 2)))
    for _ in range(8):
        pieces = len(files) + extra + total // _PLAIN_PIECE
        documents = _DOCUMENTS + 2 * policy + (_JSON_OF_PIECE + 32) * pieces + _JSON_OF_FILE * (len(files) + len(boot))
        documents += -(-total // BLOCK) * 33
        spread = _Spread(files, boot, documents, capacity=capacity, layout=layout, encrypted=encrypted)
        plan = spread.plan()
        if len(plan.pieces) <= pieces:
            break
        extra = len(plan.pieces) - len(files)
    if len(plan.pieces) > MAX_PIECES:
        raise NoSpaceError(
            f"{plural(len(plan.pieces), 'piece')}, where a set has {MAX_PIECES:,} at most",
            hint="pack folders of many small files into one file of a package: courier package add --pack",
            code=Code.TOO_LARGE,
        )
    return plan


class _Spread:
    def __init__(
        self,
        files: Sequence[SizedFile],
        boot: Sequence[SizedFile],
        documents: int,
        *,
        capacity: int,
        layout: Layout,
        encrypted: bool,
    ) -> None:
        self._files, self._layout, self._encrypted = files, layout, encrypted
        self._capacity = capacity
        self._fixed = documents + 6 * self._of_file(0) + 4 * self._of_folder() + _TABLES[layout]
        self._boot = sum(self._of_file(file.size) for file in boot) + self._of_folder() * len(
            {file.path.rpartition("/")[0] for file in boot}
        )
        self._disc = 1
        self._begin(self._boot)

    def _of_file(self, size: int) -> int:
        if self._layout == "iso":
            return -(-size // ISO_BLOCK) * ISO_BLOCK + _ISO_FILE
        # The cluster is not known before the files are; the tables take 8 bytes a cluster of 512 bytes and more.
        cluster = min(_LARGEST_CLUSTER, max(512, self._capacity >> 20))
        return -(-size // cluster) * cluster * 65 // 64 + _USB_FILE

    def _of_folder(self) -> int:
        return _ISO_FOLDER if self._layout == "iso" else _USB_FOLDER

    def _begin(self, taken: int) -> None:
        self._left = self._capacity - self._fixed - taken
        self._folders: set[str] = set()
        self._empty = True
        if self._left < 2 * BLOCK:
            needed = self._fixed + taken + 2 * BLOCK
            what = "what boots and " if taken else ""
            raise NoSpaceError(
                f"a medium of {self._capacity:,} bytes is too small: {what}the documents of the set take "
                f"{needed:,} bytes",
                hint="choose a larger medium",
                code=Code.MEDIUM_TOO_SMALL,
            )

    def plan(self) -> DiscPlan:
        pieces: list[PlannedPiece] = []
        most = _PLAIN_PIECE if self._encrypted else MAX_PIECE
        for number, file in enumerate(self._files):
            folder = file.path.rpartition("/")[0]
            offset = 0
            while offset < file.size:
                new_folder = 0 if folder in self._folders else self._of_folder()
                rest = file.size - offset
                size = min(rest, most)
                if self._cost(size) + new_folder > self._left:
                    size = self._cut(size, self._left - new_folder)
                    if not size:
                        self._next_disc()
                        continue
                pieces.append(PlannedPiece(file=number, offset=offset, size=size, disc=self._disc))
                self._left -= self._cost(size) + new_folder
                self._folders.add(folder)
                self._empty = False
                offset += size
        return DiscPlan(pieces=tuple(pieces), discs=self._disc)

    def _cost(self, size: int) -> int:
        return self._of_file(encrypted_size(size, 1) if self._encrypted else size)

    def _cut(self, size: int, room: int) -> int:
        """The largest number of whole blocks, less than ``size``, that ``room`` has place for."""
        blocks = min((size - 1) // BLOCK, max(0, room) // BLOCK)
        while blocks and self._cost(blocks * BLOCK) > room:
            blocks -= 1 + max(0, (self._cost(blocks * BLOCK) - room) // (2 * BLOCK))
        return max(0, blocks) * BLOCK

    def _next_disc(self) -> None:
        if self._empty and self._disc > 1:
            raise NoSpaceError(
                f"a medium of {self._capacity:,} bytes holds no part of these files",
                hint="choose a larger medium",
                code=Code.MEDIUM_TOO_SMALL,
            )
        if self._disc == MAX_DISCS:
            raise NoSpaceError(
                f"more than {MAX_DISCS} media of {self._capacity:,} bytes are needed",
                hint="choose a larger medium",
                code=Code.MEDIUM_TOO_SMALL,
            )
        self._disc += 1
        self._begin(0)


def iso_image_size(files: Sequence[tuple[str, int]], *, bootable: bool) -> int:
    """Exact bytes of a disc image of these files (path, size), without the partition tables of a hybrid."""
    return iso_size([*files, *([(CATALOG, ISO_BLOCK)] if bootable else [])])
