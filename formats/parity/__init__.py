"""Parity: Reed-Solomon over columns of blocks (docs/parity.md).

`formats.parity.reed_solomon` makes parity and mends; `formats.parity.layout` says where every block lies,
`formats.parity.stripes` cuts the work into pieces for threads, `formats.parity.sums` computes over whole blocks,
`formats.parity.field` is the arithmetic, and `formats.parity.column_files` reads and writes files.

Nothing is imported here: where blocks lie is asked for far more often than it is computed with, and numpy takes long to
load.
"""
