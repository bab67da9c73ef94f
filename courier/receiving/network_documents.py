"""The documents of a parcel that come by network: they gather piece by piece, then its spool is begun with them.

From then on its blocks may come by network and by media, in any order; whichever of the two is first counts. Pieces
that are not whole yet wait in ``channel/documents/PARCEL-BUILD`` of the home.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError, NoSpaceError, RefusedError
from courier.files import TEMP, make_folder, naming_space, remove_tree, write_atomic
from courier.parcel.import_checks import refused_here
from courier.parcel.notices import check_not_recalled
from courier.parcel.states import ReceivedState
from courier.parcel.volume_documents import VolumeDocuments, documents_by_network
from courier.receiving.open_spool import OpenSpools, SpoolRequest, open_spool
from courier.receiving.spool import Spool
from courier.receiving.spools_lock import message_at_door
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.table import Table, TablePart
from formats.envelope import Envelope


def take_table_part(site: Site, piece: TablePart, _envelope: Envelope) -> str:
    """Keep a piece; with the last one, begin the spool. Return an empty text, as nothing waits for a person.

    A piece that comes again, or for a parcel whose documents came with a medium, does nothing. Raises `RefusedError`
    where the parcel may not be received here, or where there is no room, and `DamagedError` where the pieces do not
    make what was signed.
    """
    where = f"{piece.parcel}, by network from {piece.source}"
    waiting = site.home / "channel" / "documents" / site.incoming(piece.parcel, piece.build).name
    with message_at_door(site):
        if not _is_wanted(site, piece):
            remove_tree(waiting)
            return ""
        folder = make_folder(waiting / piece.packing_list)
        _forget_others(waiting, folder)
        try:
            with naming_space(folder, lambda: len(piece.data), purpose=f"receiving {where}"):
                _keep(site, folder, piece)
                if not _is_whole(folder):
                    return ""
                _begin(site, folder, piece, where)
        except NoSpaceError as error:
            # Only its sender can go on once there is room: it is told so.
            raise RefusedError(error.message, hint=error.hint, code=Code.FULL) from None
        remove_tree(waiting)
    return ""


def _is_wanted(site: Site, piece: TablePart) -> bool:
    """Whether the documents are needed; raises `RefusedError` for a parcel that is refused here."""
    with site.catalogue.reading() as connection:
        rows = parcels.find_received(connection, piece.parcel)
    if any(row.state == ReceivedState.REFUSED for row in rows):
        remove_tree(site.home / "channel" / "documents" / site.incoming(piece.parcel, piece.build).name)
        check_not_recalled(site, site.trust(), piece.parcel, piece.source)
        raise refused_here(piece.parcel)
    return not Spool.exists(site.incoming(piece.parcel, piece.build))


def _forget_others(waiting: Path, folder: Path) -> None:
    """Delete the pieces of another layout: the sender has laid the parcel out anew."""
    for other in waiting.iterdir():
        if other != folder:
            remove_tree(other)


def _keep(site: Site, folder: Path, piece: TablePart) -> None:
    path = folder / f"{piece.table}.{piece.part}of{piece.of}"
    if path.exists():
        return
    root = site.home / "channel" / "documents"
    here = sum(one.stat().st_size for one in root.glob(f"{piece.source}-*/*/*") if one.is_file())
    if here + len(piece.data) > site.room_for(piece.source):
        raise RefusedError(
            f"{piece.source} has put as much here as one site may: the documents of {piece.parcel} take more",
            hint="to take more, there: courier parcel limits --site-quota SIZE; then send it again",
            code=Code.FULL,
        )
    write_atomic(path, bytes(piece.data))


def _pieces(folder: Path, table: Table) -> list[Path] | None:
    """The pieces of a document in order; None while some are missing."""
    found = sorted(folder.glob(f"{table}.*of*"), key=lambda path: int(path.suffix[1:].partition("of")[0]))
    of = int(found[0].suffix.partition("of")[2]) if found else 0
    names = [f"{table}.{number}of{of}" for number in range(1, of + 1)]
    return found if found and [path.name for path in found] == names else None


def _is_whole(folder: Path) -> bool:
    return all(_pieces(folder, table) is not None for table in Table)


def _begin(site: Site, folder: Path, piece: TablePart, where: str) -> None:
    scratch = make_folder(site.home / "parcels" / "in" / f"{TEMP}documents")
    try:
        try:
            documents = _verified(site, folder, scratch, piece, where)
        except (DamagedError, RefusedError):
            # They can never become what was signed; sent anew, they may.
            remove_tree(folder.parent)
            raise
        seen = "its documents came by network"
        open_spool(site, SpoolRequest(documents=documents, trust=site.trust(), where=where, seen=seen), OpenSpools())
    finally:
        remove_tree(scratch)


def _verified(site: Site, folder: Path, scratch: Path, piece: TablePart, where: str) -> VolumeDocuments:
    made = {table: scratch / str(table) for table in Table}
    for table, path in made.items():
        with path.open("wb") as out:
            for one in _pieces(folder, table) or ():
                with one.open("rb") as source:
                    shutil.copyfileobj(source, out, 1 << 20)
    documents = documents_by_network(
        site.trust(),
        made[Table.PACKING_LIST].read_bytes(),
        contents=made[Table.CONTENTS],
        blocks=made[Table.BLOCKS],
        now_ns=now(),
        where=where,
    )
    named = documents.packing.parcel, documents.packing.build, documents.packing.source, documents.digest
    if named != (piece.parcel, piece.build, piece.source, piece.packing_list):
        raise RefusedError(
            f"{where}: the packing list is of another parcel or layout",
            hint=f"tell {piece.source}",
            code=Code.MALFORMED,
        )
    return documents
