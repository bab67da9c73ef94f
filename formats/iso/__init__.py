"""ISO images: the files of one volume, named by three trees over the same data.

`formats.iso.writer` writes them with pycdlib (`formats.iso.layout`, `formats.iso.mastering`); `formats.iso.boot` makes
them bootable. `formats.iso.reader` reads them without it (`formats.iso.disc`, `formats.iso.udf`); decision 0013 says
why.
"""

from formats.iso.boot import BootImage
from formats.iso.layout import MAX_FILE, iso_size
from formats.iso.reader import IsoReader
from formats.iso.writer import IsoFile, write_iso

__all__ = ["MAX_FILE", "BootImage", "IsoFile", "IsoReader", "iso_size", "write_iso"]
