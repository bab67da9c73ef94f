"""Codecs: how runs of content are stored as members of archives, and the ways to compress that an operator names.

`CODECS` is the one list of codecs. Nothing else in this project names a codec, but for ``formats/restore.py``, which
travels alone; ``tests/formats/test_codecs.py`` checks both.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.codecs.codec import Codec
from formats.codecs.lzma2 import Lzma2
from formats.codecs.solid import SolidCodec
from formats.codecs.store import Store
from formats.codecs.zstd import Zstd, sampled_share

__all__ = [
    "CODECS",
    "COMPRESSIONS",
    "HOLES",
    "LZMA2",
    "NAMES",
    "STORE",
    "Codec",
    "Compression",
    "SolidCodec",
    "sampled_share",
]

STORE: Codec = Store()
"""The codec that leaves content as it is."""
LZMA2: SolidCodec = Lzma2()
"""The codec of solid groups, which the 7z format itself knows."""
_ZSTD = Zstd()
HOLES: Codec = _ZSTD
"""The codec for contents with holes: a run of zeros takes next to nothing."""
CODECS: dict[str, Codec] = {codec.name: codec for codec in (STORE, _ZSTD, LZMA2)}
"""Every codec by the name that documents give it."""
NAMES = "|".join(CODECS)
"""The names of all codecs, as a regular expression."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compression:
    """A way to compress that an operator names: the codec for what it makes smaller, and the level given to it."""

    codec: Codec
    level: int


COMPRESSIONS = {
    "auto": Compression(codec=_ZSTD, level=3),
    "none": Compression(codec=STORE, level=0),
    "fast": Compression(codec=_ZSTD, level=1),
    "best": Compression(codec=LZMA2, level=6),
}
"""Ways to compress by the operator's word. What the codec does not make smaller is stored as it is."""
