"""A parcel that this site built: what the catalogue knows of it, its signed packing list, and its files.

Its folder, ``parcels/out/PARCEL``, holds the files of `courier.parcel.recipes` and

    plan                    the digest of the plan that is being built
    build.json              the compression level and the recipients; the keys of its encryption are beside it
    card.json               the site's card when the parcel was built
    contents                the contents, as they go on every volume
    packing-list-1.json     the signed packing list of edition 1
    blocks-1.bin            its block table

A file that belongs to an edition has its number in its name, and the catalogue says which edition counts: whenever a
run is killed, the old edition or the new one is complete.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import BusyError, DamagedError, NotFoundError, RefusedError, UsageError
from courier.files import remove_tree, sweep
from courier.parcel.encryption import BY_NETWORK, PARCEL_KEY, SEED, ParcelEncryptor
from courier.parcel.full_command import anew_command
from courier.parcel.patches import PATCHES, ParcelContents
from courier.parcel.recipes import ComposedFiles, Encryptor
from courier.parcel.states import SentState
from courier.site.catalog import parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.home import Site
from formats.documents.packing import PackingList
from formats.envelope import Envelope, parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel
from formats.records import Count, NamedRecord, Text, read_named

if TYPE_CHECKING:
    from sqlalchemy import Connection

PLAN = "plan"
CONTENTS = "contents"
CARD = "card.json"
BUILD_SETTINGS = "build.json"
ALTERNATIVE = "read it from media of the parcel that are still here, or create a new parcel"
"""What is left to do if a file of a parcel cannot be made here any more."""


def packing_name(edition: int) -> str:
    """The file name of the signed packing list of an edition."""
    return f"packing-list-{edition}.json"


def blocks_name(edition: int) -> str:
    """The file name of the block table of an edition."""
    return f"blocks-{edition}.bin"


def is_signed(folder: Path) -> bool:
    """Whether an edition of the parcel in ``folder`` was signed: then the folder must not be deleted."""
    return any(folder.glob("packing-list-*.json"))


def forget_other_editions(folder: Path, edition: int, *, written: Collection[int] = ()) -> None:
    """Delete the files of every edition but the one that counts.

    The packing lists of editions of which volumes were ``written`` stay: these may be under way, or be reported.
    """
    for pattern in ("packing-list-*.json", "blocks-*.bin", "parity-*"):
        for path in folder.glob(pattern):
            number = path.stem.rpartition("-")[2]
            kept = pattern.startswith("packing") and number.isdecimal() and int(number) in written
            if number != str(edition) and not kept:
                remove_tree(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSettings(NamedRecord):
    """How a parcel was built: the level of its codecs, and the recipients it is encrypted for (none: not encrypted)."""

    NAME = "build"

    level: Count
    recipients: tuple[Text, ...]

    def encode(self) -> bytes:
        """The bytes of `BUILD_SETTINGS`."""
        return self.json()

    @classmethod
    def load(cls, folder: Path) -> BuildSettings:
        """Those of the parcel in ``folder``; raises `FileNotFoundError` or `FormatError`."""
        return read_named(cls, (folder / BUILD_SETTINGS).read_bytes())


@dataclass(frozen=True, kw_only=True)
class OutgoingParcel:
    """A parcel this site built: its record, its packing list and the envelope of that, its folder and its volumes."""

    sent: SentParcel
    packing: PackingList
    envelope: bytes
    folder: Path
    volumes: tuple[SentVolume, ...]

    def blocks(self) -> Path:
        """The file of its block table."""
        return self.folder / blocks_name(self.packing.edition)

    def contents(self, site: Site) -> ParcelContents:
        """What its archives are composed from."""
        anew = (lambda: self.anew(site)) if self.packing.bases else None
        return ParcelContents(site.store, self.folder / PATCHES, anew)

    def anew(self, site: Site) -> str:
        """The command that makes a parcel in the place of this one."""
        with site.catalogue.reading() as connection:
            versions = [(one[0], one[1]) for one in parcels.sent_packages(connection, self.sent.parcel)]
        return anew_command(versions, self.packing)

    def files(self, site: Site) -> ComposedFiles:
        """Its archives and parity files, to be read."""
        contents = self.contents(site)
        return ComposedFiles(
            self.folder,
            self.packing,
            open_content=contents.open_content,
            lacking=contents.lacking,
            small=contents.small,
            encryptor=self.encryptor,
        )

    def build_settings(self) -> BuildSettings:
        """How it was built; raises `DamagedError` if that is not kept here."""
        try:
            return BuildSettings.load(self.folder)
        except (FileNotFoundError, FormatError):
            raise DamagedError(
                f"{self.sent.parcel}: how it was built is not kept here", hint=ALTERNATIVE, code=Code.NO_RECIPE
            ) from None

    def encryptor(self) -> Encryptor | None:
        """What encrypts its archives, with the keys of its build; None if it is not encrypted.

        Raises `DamagedError` if the keys are gone.
        """
        recipients = self.build_settings().recipients
        if not recipients:
            return None
        keys = [SEED, *([PARCEL_KEY] if BY_NETWORK in recipients else [])]
        if not all((self.folder / key).exists() for key in keys):
            raise DamagedError(
                f"{self.sent.parcel}: the keys of its encryption are not kept here any more",
                hint=ALTERNATIVE,
                code=Code.NO_RECIPE,
            )
        return ParcelEncryptor.in_folder(self.folder, recipients)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedEdition:
    """A layout of a parcel that was signed, and the SHA-256 of the payload of its packing list."""

    packing: PackingList
    digest: str


def signed_editions(parcel: OutgoingParcel) -> list[SignedEdition]:
    """The layouts of a parcel whose packing lists are here, by edition; one that is damaged is left out."""
    found = []
    for path in parcel.folder.glob("packing-list-*.json"):
        try:
            envelope = parse_envelope(path.read_bytes())
            found.append(SignedEdition(packing=PackingList.parse(envelope.payload), digest=envelope.sha256))
        except FormatError:
            continue
    return sorted(found, key=lambda edition: edition.packing.edition)


@contextmanager
def alone_with(site: Site, parcel: OutgoingParcel) -> Iterator[None]:
    """Hold the lock of a parcel while it is written, or while what it is written from is changed.

    Raises `BusyError` while another command holds it, or if another has laid it out anew since it was opened.
    """
    with site.locked(parcel.folder / "lock"):
        sweep(parcel.folder / "labels")
        with site.catalogue.reading() as connection:
            sent = parcels.find_sent(connection, parcel.sent.parcel)
        if sent is None or sent.edition != parcel.sent.edition:
            raise BusyError(
                f"another command has laid {parcel.sent.parcel} out anew meanwhile",
                hint="run this command again: it takes the new layout",
            )
        yield


def check_not_withdrawn(parcel: OutgoingParcel) -> None:
    """Raise `RefusedError` for a parcel that was recalled or superseded: no site accepts its media."""
    if parcel.sent.state in (SentState.RECALLED, SentState.SUPERSEDED):
        was = parcel.sent.state.lower()
        code = Code.RECALLED if parcel.sent.state == SentState.RECALLED else Code.SUPERSEDED
        raise RefusedError(f"{parcel.sent.parcel} was {was}", hint="create a new parcel", code=code)


def find_outgoing(connection: Connection, parcel: str) -> SentParcel:
    """The record of a parcel this site made; raises `UsageError` for what is no parcel ID, `NotFoundError`."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="courier parcel list shows the parcels") from None
    sent = parcels.find_sent(connection, parcel)
    if sent is None:
        raise NotFoundError(f"{parcel} is not a parcel this site made", hint="courier parcel list shows the parcels")
    return sent


def open_outgoing(site: Site, parcel: str) -> OutgoingParcel:
    """Open a parcel this site built.

    Raises `UsageError`, `NotFoundError`, or `DamagedError` if its build is not finished or its folder is damaged.
    """
    with site.catalogue.reading() as connection:
        sent = find_outgoing(connection, parcel)
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


def signed_now(site: Site, packing: PackingList, envelope: Envelope) -> OutgoingParcel:
    """The parcel whose packing list has just been signed and recorded; nothing of its folder is read again."""
    with site.catalogue.reading() as connection:
        sent = find_outgoing(connection, packing.parcel)
        volumes = tuple(parcels.sent_volumes(connection, packing.parcel, packing.edition))
    return OutgoingParcel(
        sent=sent, packing=packing, envelope=envelope.encode(), folder=site.outgoing(packing.parcel), volumes=volumes
    )
