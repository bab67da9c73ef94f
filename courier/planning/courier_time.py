"""How long a courier takes: every leg from the store of one site into the store of another, and their sum. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

MEDIUM_CHANGE_SECONDS = 120
"""Seconds in which a person puts in the next medium and labels the last one, at either site."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Legs:
    """Seconds of each leg of a shipment: none of them is forgotten."""

    build: int
    """The parcel is built: content is read, compressed where that helps, hashed, and parity is made."""
    write: int
    """The media are written and read back."""
    hand_over: int
    """They are packed and wait for the carrier."""
    transit: int
    read: int
    """The media are read at the destination."""
    importing: int
    """The content is verified and goes into the store there."""

    @property
    def total(self) -> int:
        """Seconds from the first leg to the end of the last."""
        return sum(seconds for _, seconds in self.named())

    def named(self) -> list[tuple[str, int]]:
        """(what people call it, seconds) of each leg, in order."""
        values = [getattr(self, field.name) for field in fields(self)]
        return list(zip(("build", "write", "hand over", "transit", "read", "import"), values, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast things go: bytes a second of each, and seconds of what does not depend on size."""

    build: int
    drive: int
    """At which the drives of both sites write, and read."""
    importing: int
    hand_over_seconds: int
    transit_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What a courier carries: bytes of ``content``, ``bytes`` on the media with parity and documents, and ``media``."""

    content: int
    bytes: int
    media: int

    def scaled(self, content: int) -> Carried:
        """The same mixture with another amount of content, rounded up; of nothing nothing can be scaled."""
        if not self.content:
            return self
        return Carried(
            content=content,
            bytes=-(-self.bytes * content // self.content),
            media=max(1, -(-self.media * content // self.content)),
        )


def legs_of(carried: Carried, pace: Pace) -> Legs:
    """Every leg of a shipment. Writing counts twice, because each medium is read back."""
    changes = MEDIUM_CHANGE_SECONDS * carried.media
    return Legs(
        build=-(-carried.content // pace.build),
        write=-(-2 * carried.bytes // pace.drive) + changes,
        hand_over=pace.hand_over_seconds,
        transit=pace.transit_seconds,
        read=-(-carried.bytes // pace.drive) + changes,
        importing=-(-carried.content // pace.importing),
    )
