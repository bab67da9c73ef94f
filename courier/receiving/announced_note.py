"""The packing note of a parcel that was announced to this site, from its ship notice."""

from __future__ import annotations

from pathlib import Path

from courier.errors import NotFoundError
from courier.parcel.notices import notices_about
from courier.parcel.paper import write_paper
from courier.parcel.shipping_papers import Consignment, draw_packing_note
from courier.site.home import Site


def write_announced_note(
    site: Site, parcel: str, out: Path, *, page: tuple[float, float], names: bool = True, font: Path | None = None
) -> None:
    """Print the packing note of an announced parcel.

    Raises `NotFoundError` where no notice came, or the extra is missing; `RefusedError` for a notice that is not to be
    trusted, or a name that cannot be printed.
    """
    trust = site.trust()
    notices = notices_about(site, trust, parcel, parcel[:3])
    if not notices:
        raise NotFoundError(
            f"{parcel} was neither made here nor announced",
            hint="courier channel sync brings the ship notice; the note that came with the media serves as well",
        )
    notice = notices[-1]

    def called(code: str) -> str:
        return f"{code} {trust.site(code).card.name}" if names and trust.is_pinned(code) else code

    note = Consignment(
        parcel=parcel,
        copy=notice.copy,
        source=called(notice.source),
        to=tuple(called(code) for code in notice.destinations),
        volumes=notice.volumes,
        spares=None,
        medium="",
        what=tuple(f"{item.package}:{item.version}" for item in notice.packages),
        care="",
        priority=notice.priority,
        carrier=notice.carrier,
        tracking=notice.tracking,
        seals=notice.seals,
        shipped_ns=notice.issued_ns,
        packing_list=notice.packing_list,
    )
    title = f"Packing note of {parcel}"
    write_paper(out, page, title, lambda paper: draw_packing_note(paper, page, [note]), font=font)
