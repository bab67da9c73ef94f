"""FAT file systems (Microsoft, "FAT: General Overview of On-Disk Format", 1.03), written and read.

FAT16 is for the EFI image of a disc, FAT32 for a stick.

`formats.fat.writer` writes a file system whose files are known beforehand, each in one run of clusters
(`formats.fat.layout` says where). `formats.fat.reader` reads any.
"""

from formats.fat.layout import MAX_FILE, FatFile, FatLayout
from formats.fat.reader import FatReader
from formats.fat.writer import write_fat

__all__ = ["MAX_FILE", "FatFile", "FatLayout", "FatReader", "write_fat"]
