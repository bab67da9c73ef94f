"""The codec that stores a run of content as one zstd frame (RFC 8878)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, BinaryIO

from formats.codecs.codec import Codec
from formats.digest import CHUNK
from formats.errors import MalformedError

_WINDOW_LOG = 27
"""Binary logarithm of the largest window that is accepted: 128 MiB, as the stock tool's default."""
_THREADS = 2
_WORTH_THREADS = 8 << 20
"""Bytes from which a run is compressed by several threads. It decides the bytes of the frame, so it stays."""
LEAST = 4096
"""Bytes from which a content is worth a stream of its own."""
_SAMPLE = 64 << 10
_SAMPLES = 16


@cache
def zstd_library() -> Any:
    """The zstd module: the standard library's from Python 3.14 on, its backport before."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        from backports import zstd
    return zstd


def samples_shrink(source: BinaryIO, size: int) -> bool:
    """Whether zstd's level 1 takes a tenth or more off samples across a content of ``size`` bytes."""
    return sampled_share(source, size) < 0.9


def sampled_share(source: BinaryIO, size: int) -> float:
    """What zstd's level 1 leaves of samples across a content of ``size`` bytes, as a part of them; all of nothing."""
    taken = compressed = 0
    for place in range(0, size, max(_SAMPLE, size // _SAMPLES)):
        source.seek(place)
        data = source.read(_SAMPLE)
        taken += len(data)
        compressed += len(zstd_library().compress(data, 1))
    return compressed / taken if taken else 1.0


class Zstd(Codec):
    """Stores a run of content as one zstd frame, with its size and its checksum."""

    name = "zstd"
    suffix = ".zst"
    as_is = False
    memory = (1 << _WINDOW_LOG) + (4 << 20)
    command = ("zstd", "-dcq")
    by_hand = "Members named NAME.zst are zstd frames: `zstd -d --rm NAME.zst`."

    def bound(self, length: int) -> int:
        """ZSTD_COMPRESSBOUND of zstd.h, and the frame's header and checksum."""
        return length + (length >> 8) + 256

    def fits(self, room: int) -> int:
        """The inverse of `bound`, rounded down."""
        return room - (room >> 8) - 512

    def saves(self, source: BinaryIO, size: int) -> bool:
        """Whether level 1 takes a tenth or more off samples across the content. Less than 4 KiB is not worth it."""
        return size >= LEAST and samples_shrink(source, size)

    def encode(self, pieces: Iterable[bytes], *, length: int, level: int) -> Iterator[bytes]:
        """One frame; ``level`` is zstd's own, from 1 to 22; 0 is its default."""
        zstd = zstd_library()
        options = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
            zstd.CompressionParameter.content_size_flag: 1,
        }
        if length > _WORTH_THREADS:
            options[zstd.CompressionParameter.nb_workers] = _THREADS
        compressor = zstd.ZstdCompressor(options=options)
        compressor.set_pledged_input_size(length)
        for data in pieces:
            yield compressor.compress(data)
        yield compressor.flush()

    def _decode(self, source: BinaryIO, place: str) -> Iterator[bytes]:
        zstd = zstd_library()
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
        try:
            while not decompressor.eof:
                data = source.read(CHUNK) if decompressor.needs_input else b""
                if not data and decompressor.needs_input:
                    raise MalformedError("zstd frame is cut short", place=place)
                yield decompressor.decompress(data, max_length=CHUNK)
        except zstd.ZstdError as error:
            raise MalformedError(f"not a zstd frame: {error}", place=place) from None
        if decompressor.unused_data or source.read(1):
            raise MalformedError("bytes after the zstd frame", place=place)
