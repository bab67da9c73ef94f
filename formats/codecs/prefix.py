"""One zstd frame (RFC 8878) that is packed with other bytes before it, as ``zstd --patch-from`` does.

The *prefix* is what packer and unpacker both have: what the frame repeats of it costs next to nothing. It is no
dictionary of zstd's own format, serves one frame only, and a frame that is unpacked with another prefix fails its
checksum. A frame is unpacked within the memory of its prefix and its own bytes, as its window is no larger than these.
"""

from __future__ import annotations

from formats.codecs.zstd import zstd_library
from formats.errors import MalformedError

MAX_PREFIX = 32 << 20
"""Bytes of the longest prefix."""
MAX_FRAME = 32 << 20
"""Bytes of the longest content of a frame."""
MAX_PACKED = MAX_FRAME + (MAX_FRAME >> 7)
"""Bytes of the longest frame."""
_LEAST_WINDOW_LOG, _WINDOW_LOG = 10, 25


def pack_with_prefix(data: bytes, prefix: bytes, *, level: int) -> bytes:
    """A frame that holds ``data``, at most `MAX_FRAME` bytes, after ``prefix``, at most `MAX_PREFIX` bytes.

    ``level`` is zstd's own. Long-distance matching is always on: without it the lower levels find nothing far back.
    """
    zstd = zstd_library()
    parameter = zstd.CompressionParameter
    # The prefix may be referred to for as long as no more came out than the window has.
    window = min(_WINDOW_LOG, max(_LEAST_WINDOW_LOG, (len(data) - 1).bit_length()))
    options = {
        parameter.compression_level: level,
        parameter.checksum_flag: 1,
        parameter.content_size_flag: 1,
        parameter.window_log: window,
        parameter.enable_long_distance_matching: 1,
    }
    # A new one for each frame: a prefix serves one alone.
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=_dictionary(prefix))
    compressor.set_pledged_input_size(len(data))
    packed: bytes = compressor.compress(data, compressor.FLUSH_FRAME)
    return packed


def unpack_with_prefix(frame: bytes, prefix: bytes, length: int, *, place: str) -> bytes:
    """The ``length`` bytes that a frame holds; raises `MalformedError`, which names ``place``, where it does not."""
    zstd = zstd_library()
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    decompressor = zstd.ZstdDecompressor(options=options, zstd_dict=_dictionary(prefix))
    try:
        data: bytes = decompressor.decompress(frame, max_length=length)
        # The checksum is compared when the end of the frame is reached.
        more = b"" if decompressor.eof else decompressor.decompress(b"", max_length=1)
    except zstd.ZstdError as error:
        raise MalformedError(f"not a zstd frame with this base: {error}", place=place) from None
    if more or not decompressor.eof or decompressor.unused_data:
        raise MalformedError("does not end with its zstd frame", place=place)
    if len(data) != length:
        raise MalformedError(f"{len(data)} bytes where {length} are listed", place=place)
    return data


def _dictionary(prefix: bytes) -> object:
    zstd = zstd_library()
    # Fewer bytes than this are no dictionary to zstd, which would fail or ignore them.
    return zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= LEAST_PREFIX else None


LEAST_PREFIX = 8
"""A shorter prefix is refused by the library, and would help nothing."""
