"""Which packages of a parcel an import takes, and which an earlier one took.

How far a progressive import is stands in the last receipt of the build. It is kept in the catalogue, written in the
transaction that recorded the packages: while it is a partial one, what it names as imported is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from courier.parcel.import_checks import PackageVersion
from courier.site.catalog.parcels import ReceivedParcel
from formats.documents.fields import PackageRef
from formats.documents.receipt import Receipt, ReceiptPackage
from formats.envelope import parse_envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What an import takes: every package that was not imported ``before``, or only those ``chosen`` of them."""

    before: Mapping[PackageVersion, ReceiptPackage] = field(default_factory=dict)
    chosen: frozenset[PackageVersion] | None = None

    @property
    def is_all(self) -> bool:
        """Whether the parcel is imported in one go, so that every byte of it is read and compared."""
        return self.chosen is None and not self.before

    def takes(self, item: PackageVersion) -> bool:
        """Whether the import takes a package version."""
        return item not in self.before and (self.chosen is None or item in self.chosen)

    def left(self, packages: Iterable[PackageRef]) -> tuple[PackageRef, ...]:
        """Those of a parcel's ``packages`` that are outstanding after the import."""
        return tuple(
            one
            for one in packages
            if (one.package, one.version) not in self.before and not self.takes((one.package, one.version))
        )


WHOLE = Part()
"""An import of everything, where nothing was imported before."""


def partial_receipt(row: ReceivedParcel) -> Receipt | None:
    """The last receipt of a build of which packages are outstanding; None where it is not imported in part."""
    if row.receipt is None:
        return None
    receipt = Receipt.parse(parse_envelope(row.receipt).payload)
    return receipt if receipt.partial else None


def imported_before(row: ReceivedParcel) -> dict[PackageVersion, ReceiptPackage]:
    """The packages of a build that were imported before the rest came, as its partial receipt names them."""
    receipt = partial_receipt(row)
    return {(one.package, one.version): one for one in receipt.packages} if receipt else {}
