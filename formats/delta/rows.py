"""The lines of a parcel's contents that say how contents are made from those of versions that the receiver holds.

A *recipe* makes one content: its steps append, in order, a range of a base content, new bytes, or zeros. So there is
no recipe with a gap, an overlap or a loop in it: only with too many bytes or too few, and that is refused. New bytes
are in Zstandard frames (RFC 8878), one after the other in the *patch* of the recipe, which archives carry like any
other content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from formats.codecs.prefix import LEAST_PREFIX, MAX_FRAME, MAX_PACKED, MAX_PREFIX
from formats.errors import MalformedError, TooLargeError
from formats.names import MAX_VERSION, check_package
from formats.records import Count, Digest, LineCodec, Number, Row, integer, items, matching

MAX_BASE_VERSIONS = 100
"""Package versions that a parcel builds on, at most."""
MAX_BASES = 16
"""Contents that one recipe copies from, at most."""
MAX_STEPS = 1 << 20
"""Lines of one recipe after its first, at most."""
MAX_RANGES = 4096
"""Ranges that a prefix is put together from, at most."""


class BaseVersionRow(Row, tag="v", frozen=True, kw_only=True):
    """A package version that the parcel builds on, and the SHA-256 of its listing."""

    package: str
    version: Annotated[int, integer(1, MAX_VERSION)]
    listing: Digest


class RecipeRow(Row, tag="r", frozen=True, kw_only=True):
    """The line before the steps of a recipe: how many follow, and what they make.

    They make the content of ``of`` bytes with this SHA-256. ``patch`` is the SHA-256 of the content of ``size`` bytes
    that holds the new bytes; empty, with 0 bytes, where there are none. ``bases`` are (SHA-256, size) of the contents
    that steps copy from, which count them from 0.
    """

    sha256: Digest
    of: Number
    patch: Annotated[str, matching("([0-9a-f]{64})?")]
    size: Count
    bases: Annotated[tuple[tuple[Digest, Number], ...], items(1, MAX_BASES)]
    steps: Annotated[int, integer(1, MAX_STEPS)]


class FrameRow(Row, tag="z", frozen=True, kw_only=True):
    """The next ``size`` bytes of the patch are a Zstandard frame of ``length`` new bytes.

    ``prefix``: ranges (base, offset, length) which, one after the other, are the bytes before it.
    """

    size: Annotated[int, integer(1, MAX_PACKED)]
    length: Annotated[int, integer(1, MAX_FRAME)]
    prefix: Annotated[tuple[tuple[Count, Count, Number], ...], items(0, MAX_RANGES)]


class CopyRow(Row, tag="c", frozen=True, kw_only=True):
    """The next bytes are ``length`` bytes from ``offset`` of a base."""

    base: Count
    offset: Count
    length: Number


class NewRow(Row, tag="n", frozen=True, kw_only=True):
    """The next bytes are the next ``length`` new bytes of the frame."""

    length: Number


class ZeroRow(Row, tag="o", frozen=True, kw_only=True):
    """The next bytes are ``length`` zeros."""

    length: Number


StepRow = FrameRow | CopyRow | NewRow | ZeroRow


def _judge(row: BaseVersionRow | RecipeRow | StepRow) -> None:
    match row:
        case BaseVersionRow():
            check_package(row.package, place="package")
        case RecipeRow():
            _judge_recipe(row)
        case FrameRow():
            total = sum(length for _, _, length in row.prefix)
            if total > MAX_PREFIX:
                raise TooLargeError(f"{total} bytes, {MAX_PREFIX} are the limit", place="prefix")
            if row.prefix and total < LEAST_PREFIX:
                raise MalformedError(f"{total} bytes, fewer than {LEAST_PREFIX}", place="prefix")
        case _:
            pass


def _judge_recipe(row: RecipeRow) -> None:
    if bool(row.patch) != bool(row.size):
        raise MalformedError("a patch has bytes, and no patch has none", place="size")
    names = [sha256 for sha256, _ in row.bases]
    if len(set(names)) != len(names):
        raise MalformedError("a content is listed twice", place="bases")
    if row.sha256 in names:
        raise MalformedError("a content cannot be made from itself", place="bases")


DELTA_LINES: LineCodec[BaseVersionRow | RecipeRow | StepRow] = LineCodec(
    BaseVersionRow | RecipeRow | FrameRow | CopyRow | NewRow | ZeroRow, _judge
)
"""Reads and writes the lines of the section."""


class RecipeCheck:
    """Judges the steps of one recipe in their order; memory does not grow with their number."""

    def __init__(self, recipe: RecipeRow) -> None:
        self._recipe = recipe
        self._made = 0
        self._packed = 0
        self._new = 0
        self._last: StepRow | None = None

    def add(self, step: StepRow) -> None:
        """Judge the next step; raises `MalformedError`, its place relative to the row."""
        match step:
            case FrameRow():
                self._frame(step)
            case CopyRow():
                self._within(step.base, step.offset, step.length)
                last = self._last
                if isinstance(last, CopyRow) and (last.base, last.offset + last.length) == (step.base, step.offset):
                    raise MalformedError("goes on where the copy before it ends", place="offset")
            case NewRow():
                if step.length > self._new:
                    raise MalformedError(f"{step.length} new bytes where {self._new} are left", place="length")
                self._new -= step.length
            case ZeroRow():
                pass
        if isinstance(step, (NewRow, ZeroRow)) and type(step) is type(self._last):
            raise MalformedError("follows a line of its own kind")
        if not isinstance(step, FrameRow):
            self._made += step.length
            if self._made > self._recipe.of:
                raise MalformedError(f"reaches past the {self._recipe.of} bytes of its content", place="length")
        self._last = step

    def _frame(self, step: FrameRow) -> None:
        if self._new:
            raise MalformedError(f"a frame where {self._new} new bytes of the one before are left")
        self._new = step.length
        self._packed += step.size
        if self._packed > self._recipe.size:
            raise MalformedError(f"reaches past the {self._recipe.size} bytes of the patch", place="size")
        for base, offset, length in step.prefix:
            self._within(base, offset, length)

    def _within(self, base: int, offset: int, length: int) -> None:
        if base >= len(self._recipe.bases):
            raise MalformedError(f"base {base} of {len(self._recipe.bases)}", place="base")
        size = self._recipe.bases[base][1]
        if offset + length > size:
            raise MalformedError(f"reaches past the {size} bytes of base {base}", place="length")

    def finish(self) -> None:
        """Judge the end of the recipe; raises `MalformedError`."""
        if self._made != self._recipe.of:
            raise MalformedError(f"makes {self._made} of the {self._recipe.of} bytes of its content", place="of")
        if self._new or self._packed != self._recipe.size:
            raise MalformedError("does not use all of its patch", place="size")


def in_order(versions: Sequence[BaseVersionRow]) -> bool:
    """Whether versions are ascending by package and version, each once."""
    keys = [(row.package, row.version) for row in versions]
    return keys == sorted(set(keys))
