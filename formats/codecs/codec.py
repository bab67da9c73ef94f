"""What a codec is: one way to store a run of bytes of a content as a member of an archive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import BinaryIO, ClassVar

from formats.errors import DigestMismatchError, TooLargeError


class Codec(ABC):
    """One way to store a run of content in an archive. A codec keeps no state: one object serves all threads.

    Another codec is a subclass, a line in `formats.codecs.CODECS`, and, where members of it are not read by 7-Zip
    alone, a branch in ``formats/restore.py``. ``tests/formats/test_codecs.py`` runs over every codec of the registry.
    """

    name: ClassVar[str]
    """What documents call it: lower-case letters and digits."""
    suffix: ClassVar[str]
    """What it adds to the name of a member, with its dot; empty for nothing."""
    as_is: ClassVar[bool]
    """Whether a member is the content's own bytes, so that nothing but the content has to be kept to make it again."""
    solid: ClassVar[bool] = False
    """Whether the archive itself packs its members, together with others: then it is a `formats.codecs.SolidCodec`."""
    memory: ClassVar[int]
    """Bytes of memory that decoding takes at most, beside the pieces read and returned."""
    command: ClassVar[tuple[str, ...]]
    """The stock command by which ``restore.py`` decodes members that follow each other, from its standard input to its
    standard output; empty where what 7-Zip extracts is the content."""
    by_hand: ClassVar[str]
    """A sentence that tells a person how to decode one extracted member; empty where there is nothing to do."""

    @abstractmethod
    def bound(self, length: int) -> int:
        """Bytes of the largest member that ``length`` bytes of content can make."""

    @abstractmethod
    def fits(self, room: int) -> int:
        """Bytes of content whose member takes ``room`` bytes or less, whatever the content is."""

    @abstractmethod
    def saves(self, source: BinaryIO, size: int) -> bool:
        """Whether this codec is worth using for a content of ``size`` bytes, judged by parts of ``source``.

        ``source`` is seekable; its position afterwards is not defined.
        """

    @abstractmethod
    def encode(self, pieces: Iterable[bytes], *, length: int, level: int) -> Iterator[bytes]:
        """The bytes of a member that holds ``pieces``, which have ``length`` bytes together.

        ``level`` is the codec's own measure of effort; 0 is its default. The same pieces, length and level make the
        same bytes, as long as the compression library is the same.
        """

    def decode(self, source: BinaryIO, length: int, *, place: str) -> Iterator[bytes]:
        """The ``length`` bytes of content that the member read from ``source`` holds; reads ``source`` to its end.

        Never yields more than ``length`` bytes. Raises `TooLargeError` where the member holds more,
        `DigestMismatchError` where it holds fewer, and `MalformedError` where it is not what this codec makes; each
        names ``place``.
        """
        return self._counted(self._decode(source, place), length, place=place)

    @staticmethod
    def _counted(pieces: Iterable[bytes], length: int, *, place: str) -> Iterator[bytes]:
        """``pieces``, which must have ``length`` bytes together; see `decode`."""
        left = length
        for data in pieces:
            left -= len(data)
            if left < 0:
                raise TooLargeError(f"expands to more than the {length} bytes listed", place=place)
            yield data
        if left:
            raise DigestMismatchError(f"{length - left} bytes where {length} are listed", place=place)

    @abstractmethod
    def _decode(self, source: BinaryIO, place: str) -> Iterator[bytes]:
        """All that the member holds, in pieces of bounded size, within `memory`; raises `MalformedError`."""
