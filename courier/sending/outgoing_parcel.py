"""A parcel that this site built: what the catalogue has of it, its signed packing list, and its files.

Its folder, ``parcels/out/PARCEL``, holds what `courier.parcel.recipes` says, and

    plan                    what plan is being built
    build.json              how it was compressed, and for whom it is sealed; its keys beside it
    card.json               the site's card when it was built
    contents                the contents, as they go on every volume
    packing-list-1.json     the signed packing list of edition 1
    blocks-1.bin            its block table

What belongs to an edition has its number in its name, and the catalogue says which edition counts: whenever a run is
killed, the old edition or the new one is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, UsageError
from courier.files import locked, remove_tree
from courier.parcel.encryption import BY_NETWORK, PARCEL_KEY, SEED, ParcelEncryptor
from courier.parcel.recipes import BuiltFiles, Encryptor
from courier.parcel.states import SentState
from courier.site.catalog import parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.home import Site
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel
from formats.records import Count, NamedRecord, Text, read_named

PLAN = "plan"
CONTENTS = "contents"
CARD = "card.json"
HOW = "build.json"
AGAIN = "read it from media of the parcel that are still here, or create a new parcel"
"""What remains to be done where a file of a parcel cannot be made here any more."""


def packing_name(edition: int) -> str:
    """The file of the signed packing list of an edition."""
    return f"packing-list-{edition}.json"


def blocks_name(edition: int) -> str:
    """The file of the block table of an edition."""
    return f"blocks-{edition}.bin"


def is_signed(folder: Path) -> bool:
    """Whether an edition of the parcel in ``folder`` was signed: then it is not to be thrown away."""
    return any(folder.glob(packing_name(1)[:-6] + "*.json"))


def forget_other_editions(folder: Path, edition: int) -> None:
    """Delete the files of every edition but the one that counts."""
    for pattern in ("packing-list-*.json", "blocks-*.bin", "parity-*"):
        for path in folder.glob(pattern):
            if path.stem.rpartition("-")[2] != str(edition):
                remove_tree(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class _HowBuilt(NamedRecord):
    """What `HOW` keeps of a build: zstd's level, and the recipients that it is encrypted for."""

    NAME = "build"

    level: Count
    recipients: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class OutgoingParcel:
    """A parcel this site built: what is recorded of it, its packing list and envelope, and its folder."""

    sent: SentParcel
    packing: PackingList
    envelope: bytes
    folder: Path
    volumes: tuple[SentVolume, ...]

    def blocks(self) -> Path:
        """Where its block table lies."""
        return self.folder / blocks_name(self.packing.edition)

    def files(self, site: Site) -> BuiltFiles:
        """Its archives and parity files, to be read."""
        return BuiltFiles(
            self.folder,
            self.packing,
            open_content=site.store.open_content,
            has_content=site.store.has,
            encryptor=self.encryptor,
        )

    def how(self) -> tuple[int, list[str]]:
        """zstd's level, and the recipients it is sealed for; raises `DamagedError` where that is not kept."""
        try:
            built = read_named(_HowBuilt, (self.folder / HOW).read_bytes())
        except (FileNotFoundError, FormatError):
            raise DamagedError(
                f"{self.sent.parcel}: how it was built is not kept here", hint=AGAIN, code=Code.NO_RECIPE
            ) from None
        return built.level, list(built.recipients)

    def encryptor(self) -> Encryptor | None:
        """What seals its archives, with the keys of its build; raises `DamagedError` where they are gone."""
        _, recipients = self.how()
        if not recipients:
            return None
        keys = [SEED, *([PARCEL_KEY] if BY_NETWORK in recipients else [])]
        if not all((self.folder / key).exists() for key in keys):
            raise DamagedError(
                f"{self.sent.parcel}: the keys of its encryption are not kept here any more",
                hint=AGAIN,
                code=Code.NO_RECIPE,
            )
        return ParcelEncryptor.in_folder(self.folder, recipients)


@contextmanager
def alone_with(site: Site, parcel: OutgoingParcel) -> Iterator[None]:
    """Hold a parcel while it is written, or what it is written from is changed.

    Raises `RefusedError` while another command holds it, or has laid it out anew since it was opened.
    """
    with locked(parcel.folder / "lock"):
        with site.catalogue.reading() as connection:
            sent = parcels.find_sent(connection, parcel.sent.parcel)
        if sent is None or sent.edition != parcel.sent.edition:
            raise RefusedError(
                f"another command has laid {parcel.sent.parcel} out anew meanwhile",
                hint="run this command again: it takes the new layout",
                code=Code.BUSY,
            )
        yield


def how_built(level: int, recipients: tuple[str, ...]) -> bytes:
    """The bytes of `HOW`."""
    return _HowBuilt(level=level, recipients=recipients).json()


def open_outgoing(site: Site, parcel: str) -> OutgoingParcel:
    """A parcel this site built; raises `NotFoundError`, or `DamagedError` when its folder is not whole."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="courier parcel list shows the parcels") from None
    with site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, parcel)
        if sent is None:
            raise NotFoundError(
                f"{parcel} is not a parcel this site made", hint="courier parcel list shows the parcels"
            )
        if sent.state == SentState.PLANNED:
            hint = "run the same courier parcel create again: it goes on where it was stopped"
            raise DamagedError(f"{parcel} is planned, but its build was not finished", hint=hint, code=Code.NOT_BUILT)
        volumes = tuple(parcels.sent_volumes(connection, parcel, sent.edition))
    folder = site.outgoing(parcel)
    try:
        envelope = (folder / packing_name(sent.edition)).read_bytes()
        parsed = parse_envelope(envelope)
        packing = PackingList.parse(parsed.payload)
    except (FileNotFoundError, FormatError) as error:
        raise DamagedError(f"{folder}: {error}", hint="create the parcel anew") from None
    if parsed.sha256 != sent.packing_list:
        raise DamagedError(
            f"{folder / packing_name(sent.edition)} is not the packing list that was signed",
            hint="courier catalog rebuild MEDIUM brings it back; or create the parcel anew",
        )
    return OutgoingParcel(sent=sent, packing=packing, envelope=envelope, folder=folder, volumes=volumes)
