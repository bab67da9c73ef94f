"""7z archives: complete files under 4 GiB whose members are stored (method COPY) or packed in solid groups (LZMA2).

`formats.archive.writer` writes stored members and `formats.archive.reader` reads all; `formats.archive.header` has the
records of the header, `formats.archive.parse` and `formats.archive.cursor` its bounded parser, `formats.archive.gauge`
its size; `formats.archive.view` composes an archive while it is read, so that it need not be kept.

Our own code writes and parses them (decision 0004): py7zr stamps the present time and packs the header, so that neither
size nor bytes are known beforehand, and its version 1.1.4 takes 2.8 GB for the header of a file of 1,279 bytes. The
tests compare both.
"""

from formats.archive.gauge import ArchiveGauge
from formats.archive.header import ARCHIVE_LIMIT, MAX_MEMBERS, Member, check_clashes, stored_time
from formats.archive.reader import ArchiveReader, Listed
from formats.archive.writer import archive_size, write_archive

__all__ = [
    "ARCHIVE_LIMIT",
    "MAX_MEMBERS",
    "ArchiveGauge",
    "ArchiveReader",
    "Listed",
    "Member",
    "archive_size",
    "check_clashes",
    "stored_time",
    "write_archive",
]
