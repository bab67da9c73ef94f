"""The exact size of an archive before it is written (see `formats.archive.header` for its parts)."""

from __future__ import annotations

from formats.archive.header import START_SIZE, Member, begins_folder, coder_bytes, number_size


class ArchiveGauge:
    """The exact size of an archive while its members are chosen one by one; each step takes constant time."""

    def __init__(self) -> None:
        self._count = 0
        self._names = 0
        self._data = 0
        self._folders = 0
        # Bytes that the header spends on the coders and sizes of folders, and on the counts of their members, but for
        # the sizes and the count of the last folder: these grow still.
        self._coders = 0
        self._closed = 0
        self._counts = 0
        # Bytes that it spends on the sizes of members, but for the last one of each folder, which is not written.
        self._sizes = 0
        # The last folder.
        self._packed = self._unpacked = self._members = 0
        self._last: Member | None = None

    @classmethod
    def of_stored(cls, *, count: int, names: int, data: int, sizes: int) -> ArchiveGauge:
        """That of ``count`` members that are all stored, by their sums.

        ``names``: bytes of all names as UTF-16, with a zero after each; ``data``: bytes of all contents; ``sizes``:
        those of `number_size` of all members but the last.
        """
        gauge = cls()
        gauge._count = gauge._members = count
        gauge._names, gauge._sizes = names, sizes
        gauge._data = gauge._packed = gauge._unpacked = data
        gauge._folders, gauge._coders = 1, len(coder_bytes(solid=False))
        return gauge

    def add(self, member: Member) -> None:
        """Count one more member; raises ValueError for one that goes on with a solid group where there is none."""
        before = self._last
        solid = before is not None and before.packed is not None
        if begins_folder(member.name, member.packed, solid=solid, first=before is None):
            if self._last is not None:
                self._closed += number_size(self._packed) + number_size(self._unpacked)
                self._counts += number_size(self._members)
            self._folders += 1
            self._coders += len(coder_bytes(solid=member.packed is not None))
            self._packed = self._unpacked = self._members = 0
        elif self._last is not None:
            self._sizes += number_size(self._last.size)
        self._last = member
        self._count += 1
        self._names += len(member.name.encode("utf-16-le")) + 2
        self._data += member.taken
        self._packed += member.taken
        self._unpacked += member.size
        self._members += 1

    @property
    def size(self) -> int:
        """Bytes of the archive of the members so far, one or more."""
        count = self._count
        pack = unpack = number_size(self._folders) + 4
        sizes = self._closed + number_size(self._packed) + number_size(self._unpacked)
        unpack += 1 + self._coders
        substreams = 4 + 4 * count
        if count > self._folders:
            substreams += 2 + self._counts + number_size(self._members) + self._sizes
        names = 2 + number_size(self._names + 1) + self._names
        times = 3 + number_size(8 * count + 2) + 8 * count
        attributes = 3 + number_size(4 * count + 2) + 4 * count
        files = 1 + number_size(count) + names + times + attributes + 1
        return START_SIZE + self._data + 2 + pack + unpack + sizes + substreams + 1 + files + 1
