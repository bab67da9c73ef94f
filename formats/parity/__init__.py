"""Parity: Reed-Solomon over block columns (docs/parity.md).

`formats.parity.coding` encodes and mends; `formats.parity.layout` says where every block lies, `formats.parity.field`
is the arithmetic, `formats.parity.sums` computes over whole blocks, `formats.parity.column_files` reads files.
"""

from formats.parity.coding import MEMORY, Check, Mended, Read, Verdict, Write, encode, mend, survey

__all__ = ["MEMORY", "Check", "Mended", "Read", "Verdict", "Write", "encode", "mend", "survey"]
