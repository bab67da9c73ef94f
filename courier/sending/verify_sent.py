"""Verifying a parcel that this site made, as it is on its own disk."""

from __future__ import annotations

from courier.errors import NotFoundError
from courier.parcel.block_table import load_table
from courier.parcel.verdict import Verdict, builds_on, check_files, signed_by, spoilt, untrusted_packing_list
from courier.progress import SILENT, Progress
from courier.sending.outgoing_parcel import open_outgoing, packing_name
from courier.site.home import Site


def verify_sent(site: Site, parcel: str, progress: Progress = SILENT) -> Verdict | None:
    """Read and check every archive and parity file of a parcel; None if this site made no such parcel.

    ``progress`` is told bytes as they are read. Raises `DamagedError` if the parcel cannot be opened.
    """
    try:
        outgoing = open_outgoing(site, parcel)
    except NotFoundError:
        return None
    packing = outgoing.packing
    table = load_table(outgoing.blocks(), packing)
    errors = untrusted_packing_list(site.trust(), outgoing.folder / packing_name(packing.edition))
    all_blocks = [bytearray(b"\1") * table.count(index) for index in range(len(packing.files()))]
    progress.begin(f"Verifying {parcel}", sum(file.size for file in packing.files()))
    problems, unread, damaged = check_files(packing, table, all_blocks, outgoing.files(site).open, progress)
    reasons = [signed_by(packing), *builds_on(packing)] if not errors else []
    errors += unread
    hint = f"courier parcel discard {parcel}, then write it: that makes its files again; courier package verify"
    return Verdict(
        what=parcel,
        parcel=parcel,
        number=0,
        of=packing.volumes,
        bytes=sum(file.size for file in packing.files()),
        damaged_blocks=damaged,
        problems=(*(error.message for error in errors), *problems),
        reasons=tuple(reasons),
        errors=tuple(errors) if errors or not problems else (spoilt(parcel, hint),),
    )
