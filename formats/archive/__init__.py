"""7z archives: complete files under 4 GiB whose members are stored as they are (method COPY).

`formats.archive.writer` writes them and `formats.archive.reader` reads them; `formats.archive.header` has the records
of the header, `formats.archive.parse` and `formats.archive.cursor` its bounded parser; `formats.archive.view` composes
an archive while it is read, so that it need not be kept.

Our own code writes and parses them (decision 0004): py7zr stamps the present time and packs the header, so that neither
size nor bytes are known beforehand, and its version 1.1.4 takes 2.8 GB for the header of a file of 1,279 bytes. The
tests compare both.
"""

from formats.archive.header import ARCHIVE_LIMIT, MAX_MEMBERS, ArchiveGauge, Member, check_clashes, stored_time
from formats.archive.reader import ArchiveReader
from formats.archive.writer import archive_size, write_archive

__all__ = [
    "ARCHIVE_LIMIT",
    "MAX_MEMBERS",
    "ArchiveGauge",
    "ArchiveReader",
    "Member",
    "archive_size",
    "check_clashes",
    "stored_time",
    "write_archive",
]
