"""The spool a volume belongs to: whether it may arrive here, is there room, and what was known of its parcel before."""

from __future__ import annotations

from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.files import make_folder, require_space, sweep, write_atomic
from courier.parcel.notices import check_not_recalled, refused_here
from courier.parcel.states import ReceivedEvent, ReceivedState
from courier.parcel.transitions import begin_received, received_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.receiving.import_parcel import expanded_bytes, is_held
from courier.receiving.spool import EDITIONS, PACKING_LIST, Spool
from courier.site.catalog import parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError


def known_packing_list(site: Site, digest: str) -> bytes | None:
    """The envelope of a packing list that came with another volume, by its digest."""
    for path in (site.home / "parcels" / "in").glob(f"*/{PACKING_LIST}"):
        data = path.read_bytes()
        try:
            if parse_envelope(data).sha256 == digest:
                return data
        except FormatError:
            # Damaged on our own disk: a volume of that parcel puts it right.
            continue
    return None


def packing_list_of(site: Site, label: str, created_ns: int) -> bytes | None:
    """The envelope of the packing list that came with the first reel of a volume, by what every reel's label says.

    ``label``: the volume's; ``created_ns``: when its layout was made, which no two layouts of a parcel share.
    """
    folder = site.home / "parcels" / "in"
    for path in [*folder.glob(f"*/{PACKING_LIST}"), *folder.glob(f"*/{EDITIONS}/*")]:
        data = path.read_bytes()
        try:
            packing = PackingList.parse(parse_envelope(data).payload)
        except FormatError:
            continue  # as above
        if packing.created_ns == created_ns and any(
            packing.volume_label(number) == label for number in range(1, packing.volumes + 1)
        ):
            return data
    return None


def open_spool(
    site: Site,
    documents: VolumeDocuments,
    *,
    hold: bool,
    where: str = "",
    opened: dict[Path, Spool] | None = None,
    straight: bool = False,
) -> Spool | None:
    """The spool of the build this volume belongs to, begun if need be; None when it was imported and is still held.

    ``where`` names the medium in errors. ``opened`` remembers the spools of one command, so that the space for all
    that is missing is judged once, not again for each of a thousand volumes. ``straight``: nothing will gather in it.

    Raises `RefusedError` for another build of a parcel of which volumes came before, `NoSpaceError`, and `DamagedError`
    where a new spool would need a table that is damaged on this medium.
    """
    packing = documents.packing
    with site.catalogue.reading() as connection:
        known = parcels.find_received(connection, packing.parcel)
    same = next((row for row in known if row.build == packing.build), None)
    others = [row for row in known if row.build != packing.build and row.state != ReceivedState.ANNOUNCED]
    imported = same is not None and same.state == ReceivedState.IMPORTED
    if imported and (documents.contents is None or is_held(site, packing, documents.contents)):
        return None
    check_not_recalled(site, site.trust(), packing.parcel, packing.source)
    if any(row.state == ReceivedState.REFUSED for row in known):
        raise refused_here(packing.parcel, where=where or documents.label.label)
    if packing.encrypted and packing.source == site.code and site.code not in packing.destinations:
        raise RefusedError(
            f"{where or documents.label.label}: {packing.parcel} was made here, at {site.code}, and is sealed for "
            f"{', '.join(packing.destinations)}",
            hint=f"receive it at {packing.destinations[0]}: --home or COURIER_HOME says which site a command is for",
            code=Code.OWN_PARCEL,
        )
    if same is None and others:
        raise RefusedError(
            f"{where or documents.label.label}: a volume of another build of {packing.parcel} than those before it",
            hint=f"ask {packing.source} which is right; courier parcel discard {packing.parcel} forgets the other",
            code=Code.OTHER_BUILD,
        )
    folder = site.incoming(packing.parcel, packing.build)
    opened = {} if opened is None else opened
    if Spool.exists(folder):
        if folder in opened:
            return opened[folder]
        Spool.heal(folder, packing, documents.envelope, contents=documents.contents, blocks=documents.blocks)
        spool = opened[folder] = Spool.open(folder)
        sweep(folder / "archives")
        coming = 0 if straight else spool.missing_bytes()
        require_space(site.home, coming + _expanded(folder), purpose="receiving the parcel")
        _note_arrival(site, documents, same, hold=hold)
        return spool
    if documents.contents is None or documents.blocks is None:
        raise DamagedError(
            f"{where or documents.label.label}: a table that every volume carries is damaged on this one",
            hint="receive another volume of the parcel first, then this one again"
            if packing.volumes > 1
            else "read it in another drive; or have the volume sent again: no other has the table",
        )
    expanded = expanded_bytes(site, documents.packing, documents.contents)
    needed = expanded + (0 if straight else sum(file.size for file in packing.files()))
    require_space(site.home, needed, purpose="receiving the parcel (archives and what they expand to)")
    make_folder(folder)
    write_atomic(folder / "expanded", str(expanded).encode())
    spool = opened[folder] = Spool.begin(
        folder, packing, documents.envelope, contents=documents.contents, blocks=documents.blocks
    )
    _note_arrival(site, documents, same, hold=hold)
    return spool


def _note_arrival(site: Site, documents: VolumeDocuments, same: ReceivedParcel | None, *, hold: bool) -> None:
    """Record that a build arrives; again, after a kill came in between, and when a later command asks for a hold."""
    packing = documents.packing
    with site.catalogue.writing() as connection:
        if same is not None and same.state == ReceivedState.IMPORTED:
            text = "the store does not hold all that it brought any more"
            received_event(connection, site, packing.parcel, packing.build, ReceivedEvent.AGAIN, text)
        if same is not None and same.state != ReceivedState.ANNOUNCED:
            if hold:
                parcels.change_received(connection, packing.parcel, packing.build, hold=1)
            if not same.packing_list:
                # Its sender's word against it was all that was known of it.
                digest = parse_envelope(documents.envelope).sha256
                parcels.change_received(connection, packing.parcel, packing.build, packing_list=digest)
            return
        for row in parcels.find_received(connection, packing.parcel):
            if row.state == ReceivedState.ANNOUNCED and row.build != packing.build:
                parcels.forget_received(connection, row.parcel, row.build)
        begin_received(
            connection,
            site,
            ReceivedEvent.ARRIVED,
            ReceivedParcel(
                parcel=packing.parcel,
                build=packing.build,
                source=packing.source,
                state=ReceivedState.ARRIVING,
                packing_list=parse_envelope(documents.envelope).sha256,
                hold=int(hold),
                first_ns=now(),
                imported_ns=None,
                receipt=None,
            ),
            f"the first volume seen is {documents.label.number} of {documents.label.of}",
        )


def _expanded(folder: Path) -> int:
    try:
        return int((folder / "expanded").read_text())
    except (FileNotFoundError, ValueError):
        return 0
