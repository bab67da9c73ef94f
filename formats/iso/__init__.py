"""ISO images: the files of one volume in three trees over the same data. Writer (through pycdlib) and reader.

`formats.iso.writer` is the door to pycdlib, with `formats.iso.layout` and `formats.iso.mastering`; `formats.iso.reader`
reads without it, through `formats.iso.disc` and `formats.iso.udf`.
"""

from formats.iso.layout import MAX_FILE, iso_size
from formats.iso.reader import IsoReader
from formats.iso.writer import IsoFile, write_iso

__all__ = ["MAX_FILE", "IsoFile", "IsoReader", "iso_size", "write_iso"]
