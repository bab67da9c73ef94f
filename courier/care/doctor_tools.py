"""What `courier doctor` looks at: the libraries that decide how long things take."""

from __future__ import annotations

from collections.abc import Iterator

from courier.care.ailment import Ailment, Area
from formats.delta.cut import is_compiled


def look_at_tools() -> Iterator[Ailment]:
    """Whether what finds the cut points of a delta is compiled."""
    if not is_compiled():
        yield Ailment(
            area=Area.TOOLS,
            what="pyfastcdc is not compiled here, but plain Python",
            means="a delta of a large image takes hours to plan: some 4 MiB a second",
            remedy="install its wheel, or a C compiler and then pyfastcdc anew; or use courier parcel create --full",
        )
