"""Reading a repair request: is it genuine, is it for a parcel of ours, and how much does it ask for?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, UsageError
from courier.media.kinds import writing_seconds
from courier.parcel.base_contents import BaseContents
from courier.parcel.block_table import load_table
from courier.parcel.full_command import full_command, full_command_unseen
from courier.parcel.states import SentState
from courier.sending.outgoing_parcel import OutgoingParcel, open_outgoing
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.text import dashed, volumes
from formats.blocks import BlockTable
from formats.documents.repair import REQUEST_KIND, RepairRequest
from formats.envelope import MAX_ENVELOPE, Envelope
from formats.errors import FormatError


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedRequest:
    """A repair request that was verified, and what an answer takes.

    ``table`` is the block table of the parcel, ``bases`` the contents that it builds on. ``bytes``: those of the
    requested blocks. ``volumes``: (number, how many requested blocks are on it). ``full``: the command that makes a
    parcel which builds on nothing.
    """

    parcel: OutgoingParcel
    request: RepairRequest
    digest: str
    envelope: bytes
    table: BlockTable
    bases: BaseContents
    bytes: int
    volumes: tuple[tuple[int, int], ...]
    full: str

    @property
    def numbers(self) -> list[int]:
        """The numbers of the volumes with requested blocks.

        Fewer of them need not do: which of their other blocks the receiver has is not known here.
        """
        return [number for number, _ in self.volumes]

    @property
    def which(self) -> str:
        """These volumes, for people; where only what the parcel builds on was asked for, another parcel."""
        return volumes(self.numbers) if self.volumes else "a parcel that builds on nothing"

    def length(self, number: int, block: int) -> int:
        """Bytes of a block of the archive, or content that the parcel builds on, with this number."""
        base = self.bases.find(number)
        return self.table.length(number - 1, block) if base is None else base.length(block)

    @property
    def reissue(self) -> str:
        """The command that writes these volumes again."""
        if not self.volumes:
            return self.full
        wanted = self.numbers
        layout = next((v.layout for v in self.parcel.volumes if v.number in wanted and v.layout), "iso")
        return f"courier parcel write {self.request.parcel} --layout {layout} --out DIR " + " ".join(
            f"--volume {number}" for number in wanted
        )

    @property
    def cost(self) -> str:
        """What shipping these volumes again would take, for people."""
        if not self.volumes:
            return "a parcel that builds on nothing carries everything"
        packing, one = self.parcel.packing, len(self.volumes) == 1
        load = sum(map(packing.volume_bytes, self.numbers))
        minutes = -(-writing_seconds(packing.media, load) // 60)
        return (
            f"reshipping {self.which} is {'one medium' if one else f'{len(self.volumes):,} media'} of {load:,} "
            f"bytes{'' if one else ' together'}, some {minutes} min to write and read back, and the courier"
        )

    @property
    def instead(self) -> str:
        """The cost of shipping these volumes again, and the command for it, in one line."""
        return f"{self.cost}: {self.reissue}"


def read_request_file(site: Site, path: Path) -> CheckedRequest:
    """Read and verify the request in a file; raises `NotFoundError`, `UsageError`, `RefusedError`, `DamagedError`."""
    if not path.is_file():
        raise NotFoundError(
            f"{path}: no such file", hint="name the request that courier parcel repair --request-out wrote"
        )
    if path.stat().st_size > MAX_ENVELOPE:
        raise UsageError(f"{path} is not a repair request", hint="name the file that --request-out wrote")
    return read_request(site, path.read_bytes(), where=str(path))


def read_request(site: Site, body: bytes, *, where: str) -> CheckedRequest:
    """Verify a request and count the blocks; ``where`` names it in errors.

    Raises `RefusedError`, `NotFoundError` or `DamagedError`.
    """
    request, envelope = site.trust().verify(body, REQUEST_KIND, now_ns=now(), where=where)
    return check_request(site, request, envelope, where=where)


def check_request(site: Site, request: RepairRequest, envelope: Envelope, *, where: str) -> CheckedRequest:
    """Count what a verified request asks for; raises `RefusedError`, `NotFoundError` or `DamagedError`."""
    if request.source != site.code:
        raise RefusedError(
            f"{where}: {request.site} asks {request.source} for blocks of {request.parcel}, not this site",
            hint=f"hand it to {request.source}; its answer goes to: courier parcel repair {request.parcel} --reply F",
            code=Code.NOT_FOR_US,
        )
    with site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, request.parcel)
        to = {item.site for item in parcels.destinations(connection, request.parcel)}
        packages = [(one[0], one[1]) for one in parcels.sent_packages(connection, request.parcel)]
    if sent is None or sent.build != request.build:
        raise RefusedError(
            f"{where}: {request.site} asks for blocks of {request.parcel}, which is not the parcel sent under that ID",
            hint=f"ask {request.site} what it has",
            code=Code.UNKNOWN_PARCEL,
        )
    if request.site not in to:
        raise RefusedError(
            f"{where}: {request.parcel} was not sent to {request.site}",
            hint=f"ask {request.site} how it got the parcel",
            code=Code.NOT_A_DESTINATION,
        )
    if sent.state == SentState.RECALLED:
        raise RefusedError(f"{request.parcel} was recalled", hint="create a new parcel", code=Code.RECALLED)
    try:
        parcel = open_outgoing(site, request.parcel)
        return _counted(parcel, request, envelope, packages)
    except DamagedError as error:
        if sent.state == SentState.PLANNED:
            raise
        command = full_command_unseen(packages, request.site, alone=to == {request.site}, parcel=request.parcel)
        # The asking site is told the message: it holds what helps, and no path of ours.
        raise DamagedError(
            f"{site.code} has lost what it knew of {request.parcel}; everything anew, at {site.code}: {command}",
            hint=f"{error.message}; {error.hint}",
            code=error.code,
        ) from None


def _counted(
    parcel: OutgoingParcel, request: RepairRequest, envelope: Envelope, packages: Sequence[tuple[str, int]]
) -> CheckedRequest:
    packing, table = parcel.packing, _table(parcel)
    bases = BaseContents.load(parcel.folder, len(packing.archives))
    volumes: dict[int, int] = {}
    size = 0
    for file in request.files:
        index = file.archive - 1
        base = bases.find(file.archive)
        if base is not None and file.spans[-1][1] < base.blocks:
            size += sum(base.length(block) for block in file.blocks())
            continue
        if index >= len(packing.archives) or file.spans[-1][1] >= table.count(index):
            raise RefusedError(
                f"{request.parcel} has no such block of archive {file.archive}",
                hint=f"ask {request.site}",
                code=Code.BLOCK,
            )
        size += sum(table.length(index, block) for block in file.blocks())
        on = packing.archives[index].volume
        volumes[on] = volumes.get(on, 0) + file.count
    return CheckedRequest(
        parcel=parcel,
        request=request,
        digest=envelope.sha256,
        envelope=envelope.encode(),
        table=table,
        bases=bases,
        bytes=size,
        volumes=tuple(sorted(volumes.items())),
        full=full_command(packages, request.site, packing, parcel.sent.parcel),
    )


def _table(parcel: OutgoingParcel) -> BlockTable:
    try:
        return load_table(parcel.blocks(), parcel.packing)
    except (OSError, ValueError, FormatError) as error:
        raise DamagedError(
            f"{parcel.blocks()}: {error}", hint="courier catalog rebuild MEDIUM brings it back"
        ) from None


def describe_blocks(asked: CheckedRequest) -> str:
    """The blocks of a request, for people; long lists are shortened."""
    shown, files = [], asked.request.files
    for file in files[:4]:
        base = asked.bases.find(file.archive)
        name = f"archive {file.archive}" if base is None else f"content {base.sha256[:12]}, which it builds on"
        shown.append(f"{name}: {dashed(file.spans[:6])}{' ...' if len(file.spans) > 6 else ''}")
    return "; ".join(shown) + (" ..." if len(files) > 4 else "")
