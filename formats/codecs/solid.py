"""What a solid codec is: one that packs members together, in a way that the archive itself names and 7-Zip unpacks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import BinaryIO, ClassVar

from formats.codecs.codec import Codec


class SolidCodec(Codec):
    """A codec whose stream is a folder of a 7z archive, a *solid group*, and no member by itself.

    A group is several members of at most `run` bytes together, or one member of any length. Its stream is made of
    *runs*, each packed without a look at what is before it: a group has a run for every `run` bytes begun. So runs may
    be packed side by side, by several threads, and their bytes put together in order, then `ending`.
    """

    suffix = ""
    as_is = False
    solid = True
    command = ()
    by_hand = ""

    run: ClassVar[int]
    """Most bytes of content of a run."""
    ending: ClassVar[bytes]
    """What follows the last run."""
    method: ClassVar[bytes]
    """The ID of the method in 7zFormat.txt."""
    properties: ClassVar[bytes]
    """The properties of the method, as the header of an archive has them, for what `encode` makes."""

    @abstractmethod
    def encode_run(self, pieces: Iterable[bytes], *, level: int) -> Iterator[bytes]:
        """The bytes of one run that holds ``pieces``, one byte or more and at most `run` together."""

    def encode(self, pieces: Iterable[bytes], *, length: int, level: int) -> Iterator[bytes]:
        """The stream of a group that holds ``pieces``: run by run, and the ending."""
        for run in _runs(iter(pieces), self.run):
            yield from self.encode_run(run, level=level)
        yield self.ending

    @abstractmethod
    def memory_for(self, properties: bytes) -> int:
        """Bytes of memory that it takes to decode a stream with these properties.

        Raises `MalformedError` for properties that the method does not have, and `TooLargeError` for more memory than
        `memory`.
        """

    @abstractmethod
    def unpack(self, source: BinaryIO, length: int, *, properties: bytes, place: str) -> Iterator[bytes]:
        """As `decode`, within the memory that these properties ask for."""


def _runs(pieces: Iterator[bytes], size: int) -> Iterator[Iterator[bytes]]:
    """``pieces`` cut into runs of ``size`` bytes, the last one shorter; each is to be used up before the next."""
    pending = b""

    def run() -> Iterator[bytes]:
        nonlocal pending
        left = size
        while left and (data := pending or next(pieces, b"")):
            pending = data[left:]
            yield data[:left]
            left -= min(left, len(data))

    while pending or (pending := next(filter(None, pieces), b"")):
        yield run()
