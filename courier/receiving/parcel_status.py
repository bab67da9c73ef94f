"""How a parcel stands at its receiver: what is missing, and what it awaits."""

from __future__ import annotations

from dataclasses import dataclass

from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from courier.parcel.import_checks import Admission
from courier.parcel.states import GATHERING, ReceivedState
from courier.parcel.transitions import ASKED, REFUSED_THERE, REPAIRED
from courier.receiving.arrival import arrived_layout, trusted_notices
from courier.receiving.import_facts import admission_of
from courier.receiving.import_parcel import ImportedParcel
from courier.receiving.part import partial_receipt
from courier.receiving.progressive import PackageState, is_progressive, package_states
from courier.receiving.spool import Spool
from courier.site.catalog import parcels
from courier.site.catalog.messages import short_kind
from courier.site.catalog.parcels import ReceivedParcel, ReceivedVolume
from courier.site.home import Site
from formats.documents.fields import PackageRef
from formats.documents.receipt import Receipt
from formats.documents.repair import REQUEST_TYPE
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel

DELTA_IS_WHOLE = (
    "a delta is imported whole, once all of it is here: what its packages are made of lies anywhere on its volumes"
)
"""Why the packages of a delta are not imported before the rest of it comes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelStatus:
    """How a parcel stands here.

    ``source``: the site that sent it. ``missing_volumes``: numbers of the volumes with content that is missing.
    ``spare``: how many volumes may stay away, whichever they are. ``incomplete``: the paths on the media of archives of
    which blocks are missing. ``awaiting``: what a complete parcel waits for. ``report``: as in
    `courier.parcel.import_checks.Admission`. ``imported`` and ``mended`` (blocks): what the command at hand has done.
    ``packages``: how each package stands, where packages are imported before the rest of the parcel comes, and where
    some were. ``progressive``: whether they are; ``not_progressive``: why not, although it is wanted. ``bases``:
    the versions that a delta builds on. ``elsewhere``: what other commands do with the parcel now, so that it is theirs
    to go on with. ``refusal``: what its source said when it refused the blocks that were asked for last, or empty.
    """

    parcel: str
    build: str
    state: str
    volumes: tuple[ReceivedVolume, ...]
    of: int
    missing_volumes: tuple[int, ...]
    missing_blocks: int
    awaiting: tuple[str, ...]
    imported: ImportedParcel | None = None
    mended: int = 0
    source: str = ""
    spare: int = 0
    incomplete: tuple[str, ...] = ()
    report: str = ""
    packages: tuple[PackageState, ...] = ()
    progressive: bool = False
    bases: tuple[PackageRef, ...] = ()
    elsewhere: str = ""
    refusal: str = ""
    not_progressive: str = ""


def find_build(site: Site, parcel: str) -> str:
    """The build of a parcel that arrives here; raises `NotFoundError`, or `UsageError` for what is no parcel ID."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="courier parcel list shows the parcels") from None
    with site.catalogue.reading() as connection:
        rows, sent = parcels.find_received(connection, parcel), parcels.find_sent(connection, parcel)
    if not rows and sent is not None:
        raise NotFoundError(
            f"{parcel} is a parcel of {site.code}, this site: it arrives at its destinations",
            hint="give this command there: --home or COURIER_HOME says which site a command is for",
        )
    if not rows:
        raise NotFoundError(f"{parcel} is not known here", hint="courier parcel list shows the parcels")
    return rows[-1].build


def received_row(site: Site, parcel: str, build: str) -> ReceivedParcel:
    """What the catalogue has of a build; raises `NotFoundError`."""
    with site.catalogue.reading() as connection:
        rows = parcels.find_received(connection, parcel, build)
    if not rows:
        raise NotFoundError(f"nothing of {parcel} has been received", hint="courier parcel receive MEDIUM")
    return rows[0]


def volumes_to_come(site: Site, parcel: str, build: str, *, of: int) -> set[int]:
    """The volumes of a build, which has ``of``, of which no medium was seen."""
    with site.catalogue.reading() as connection:
        seen = {volume.number for volume in parcels.received_volumes(connection, parcel, build)}
    return set(range(1, of + 1)) - seen


def status_of(site: Site, parcel: str, build: str) -> ParcelStatus:
    """How a parcel stands here."""
    row = received_row(site, parcel, build)
    folder = site.incoming(parcel, build)
    if row.state == ReceivedState.IMPORTED or not Spool.exists(folder):
        return _status_without_spool(site, row)
    try:
        return status_from_spool(site, Spool.open(folder))
    except (CourierError, FileNotFoundError):
        # Another command may have imported or discarded it meanwhile, and its spool is gone or half gone.
        changed = received_row(site, parcel, build)
        if changed.state == row.state:
            raise
        return _status_without_spool(site, changed)


def status_from_spool(site: Site, spool: Spool, admission: Admission | None = None) -> ParcelStatus:
    """How a parcel stands whose spool is open; ``admission``: where its import was judged just now."""
    packing = spool.packing
    row = received_row(site, packing.parcel, packing.build)
    incomplete = [state for state in map(spool.state, range(len(packing.archives))) if not state.whole]
    awaiting, report = ((), "") if incomplete else _awaiting(site, spool, row, admission)
    # Archives are the same in every layout; what is missing is named by the volumes of that of which most came.
    layout = arrived_layout(site, spool, trusted_notices(site, spool))
    named = layout.packing
    is_wanted = is_progressive(site, spool.folder)
    progressive = is_wanted and not packing.bases
    packages: tuple[PackageState, ...] = ()
    if row.state in GATHERING and (progressive or partial_receipt(row) is not None):
        packages = package_states(site, spool, row, hold=bool(row.hold)).packages
    spare = min((group.parity for group in packing.groups if group.spares), default=0)
    return ParcelStatus(
        parcel=row.parcel,
        build=row.build,
        state=row.state,
        volumes=_volumes(site, row),
        of=named.volumes,
        missing_volumes=tuple(sorted({named.archives[state.index].volume for state in incomplete})),
        missing_blocks=sum(state.blocks - state.good for state in incomplete),
        awaiting=awaiting,
        source=row.source,
        spare=spare if layout.digest == spool.digest else 0,
        incomplete=tuple(packing.path(state.index) for state in incomplete),
        report=report,
        packages=packages or ended_states(row),
        progressive=progressive,
        bases=packing.bases,
        not_progressive=DELTA_IS_WHOLE if is_wanted and packing.bases and incomplete else "",
        refusal=_refusal(site, row.parcel) if incomplete or awaiting else "",
    )


def _refusal(site: Site, parcel: str) -> str:
    """What the source of a parcel answered to the blocks that were asked for last, where it refused; else empty."""
    with site.catalogue.reading() as connection:
        log = parcels.read_log(connection, parcel)
    request = f"our {short_kind(REQUEST_TYPE)}, "
    told = [one for one in log if one.event in (ASKED, REPAIRED) or one.text.startswith(request)]
    return told[-1].text.partition(": ")[2] if told and told[-1].event == REFUSED_THERE else ""


def ended_states(row: ReceivedParcel) -> tuple[PackageState, ...]:
    """How the packages of a build stand that was imported in part, by its receipt alone: nothing more is to come."""
    receipt = partial_receipt(row)
    if receipt is None or row.state in GATHERING:
        return ()
    why = receipt.ended or str(row.state).lower()
    return (
        *(PackageState(package=one.package, version=one.version, outcome=str(one.outcome)) for one in receipt.packages),
        *(PackageState(package=one.package, version=one.version, refused=why) for one in receipt.outstanding),
    )


def _status_without_spool(site: Site, row: ReceivedParcel) -> ParcelStatus:
    volumes = _volumes(site, row)
    return ParcelStatus(
        parcel=row.parcel,
        build=row.build,
        state=row.state,
        volumes=volumes,
        of=max((volume.number for volume in volumes), default=0),
        missing_volumes=(),
        missing_blocks=0,
        awaiting=(),
        source=row.source,
        packages=ended_states(row),
        bases=() if row.receipt is None else Receipt.parse(parse_envelope(row.receipt).payload).bases,
    )


def _volumes(site: Site, row: ReceivedParcel) -> tuple[ReceivedVolume, ...]:
    with site.catalogue.reading() as connection:
        return tuple(parcels.received_volumes(connection, row.parcel, row.build))


def _awaiting(
    site: Site, spool: Spool, row: ReceivedParcel, admission: Admission | None
) -> tuple[tuple[str, ...], str]:
    """What a complete parcel waits for, and the command that reports its arrival, as in `Admission`.

    A disagreement of media and network is one of these, not an error here.
    """
    try:
        admission = admission or admission_of(site, spool, hold=bool(row.hold))
    except RefusedError as error:
        return (f"an answer: {error.message}",), ""
    return admission.awaiting, admission.report
