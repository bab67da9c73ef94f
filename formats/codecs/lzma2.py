"""The solid codec that packs content with LZMA2, as 7-Zip does (xz's and 7-Zip's specification of the method)."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from formats.codecs.solid import SolidCodec
from formats.codecs.zstd import LEAST, samples_shrink
from formats.errors import MalformedError, TooLargeError

RUN = 64 << 20
"""Most bytes of a run. It decides the bytes of what is packed, so it stays."""
_PROPERTY = 22
"""The dictionary of what we pack: 8 MiB, so that an encoder takes 94 MiB; likewise."""
_PRESET = 6
_LARGEST = 28
"""The largest dictionary that is accepted: 64 MiB."""
_PIECE = 1 << 20
_END = b"\0"


def dictionary_size(properties: bytes) -> int:
    """Bytes of the dictionary that the one byte of LZMA2's properties stands for: 2 or 3 times a power of 2.

    Raises `MalformedError`, or `TooLargeError` for more than is accepted.
    """
    if len(properties) != 1 or properties[0] > 40:
        raise MalformedError(f"LZMA2 has no properties {properties[:9].hex() or 'of no bytes'}")
    (value,) = properties
    size = (2 | value & 1) << value // 2 + 11
    if value > _LARGEST:
        raise TooLargeError(f"LZMA2 with a dictionary of {size} bytes, {(2 << _LARGEST // 2 + 11)} are the limit")
    return size


class Lzma2(SolidCodec):
    """Packs content with LZMA2, in runs that each begin with a reset of the dictionary.

    So do the threads of 7-Zip and xz, and every decoder reads it. The stream ends with a zero byte.
    """

    name = "lzma2"
    memory = (2 << _LARGEST // 2 + 11) + (4 << 20)
    run = RUN
    ending = _END
    method = b"\x21"
    properties = bytes([_PROPERTY])

    def bound(self, length: int) -> int:
        """Three bytes a chunk of nearly 64 KiB where nothing shrinks (lzma2_encoder.h of liblzma), and to spare."""
        return length + (length >> 12) + 64

    def fits(self, room: int) -> int:
        """The inverse of `bound`, rounded down."""
        return room - (room >> 12) - 80

    def saves(self, source: BinaryIO, size: int) -> bool:
        """Whether samples across the content shrink by a tenth or more.

        Less than 4 KiB is always worth it: in a group it costs nothing, and shrinks together with what is around it.
        """
        return 0 < size < LEAST or samples_shrink(source, size)

    def encode_run(self, pieces: Iterable[bytes], *, level: int) -> Iterator[bytes]:
        """A run without an ending; ``level`` is a preset of xz, from 1 to 9, with our dictionary; 0 is its default."""
        encoder = lzma.LZMACompressor(
            lzma.FORMAT_RAW,
            filters=[
                {
                    "id": lzma.FILTER_LZMA2,
                    "preset": min(level, 9) or _PRESET,
                    "dict_size": dictionary_size(self.properties),
                }
            ],
        )
        for data in pieces:
            if packed := encoder.compress(data):
                yield packed
        yield encoder.flush().removesuffix(_END)

    def memory_for(self, properties: bytes) -> int:
        """The dictionary, and the decoder itself."""
        return dictionary_size(properties) + (4 << 20)

    def unpack(self, source: BinaryIO, length: int, *, properties: bytes, place: str) -> Iterator[bytes]:
        """The content of a stream, within the dictionary of its properties."""
        try:
            size = dictionary_size(properties)
        except (MalformedError, TooLargeError) as error:
            raise type(error)(error.message, place=place) from None
        return self._counted(_decoded(source, size, place), length, place=place)

    def _decode(self, source: BinaryIO, place: str) -> Iterator[bytes]:
        return _decoded(source, dictionary_size(bytes([_LARGEST])), place)


def _decoded(source: BinaryIO, dictionary: int, place: str) -> Iterator[bytes]:
    # No other bounds are needed: every chunk of LZMA2 has content, and the dictionary is all that a decoder keeps.
    decoder = lzma.LZMADecompressor(
        lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": max(4096, dictionary)}]
    )
    try:
        while not decoder.eof:
            packed = source.read(_PIECE) if decoder.needs_input else b""
            if not packed and decoder.needs_input:
                raise MalformedError("LZMA2 stream is cut short", place=place)
            yield decoder.decompress(packed, max_length=_PIECE)
    except lzma.LZMAError as error:
        raise MalformedError(f"not an LZMA2 stream: {error}", place=place) from None
    if decoder.unused_data or source.read(1):
        raise MalformedError("bytes after the end of the LZMA2 stream", place=place)
