"""7z archives: complete files under 4 GiB whose members are stored as they are. Writer, reader and a composed view.

`formats.archive.reader` writes and reads them, `formats.archive.header` has the records of the header and
`formats.archive.parse` its bounded parser; `formats.archive.view` composes an archive that is kept nowhere.
"""

from formats.archive.header import ARCHIVE_LIMIT, MAX_MEMBERS, ArchiveGauge, Member, check_clashes, stored_time
from formats.archive.reader import ArchiveReader, archive_size, write_archive

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
