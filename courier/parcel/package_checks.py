"""The checks before an import, package by package: which of a parcel's packages may go into the store now. Pure.

The checks are those of `courier.parcel.import_checks`. What concerns the whole parcel is judged once and holds for each
of its packages; what concerns one package stops that one alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from courier.errors import CourierError
from courier.parcel.import_checks import Admission, Facts, PackageVersion, Stage, admit, judge
from formats.documents.fields import PackageRef
from formats.documents.package import PackageDefinition


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageVerdicts:
    """What the checks found for each package of a ship notice.

    ``awaiting``: what the whole parcel awaits, and then no package is admitted. ``admission``: with the definitions of
    the packages that may be imported, and no others. ``waiting``: what single packages await; ``refused``: why single
    ones are refused.
    """

    admission: Admission
    awaiting: tuple[str, ...]
    waiting: Mapping[PackageVersion, tuple[str, ...]]
    refused: Mapping[PackageVersion, CourierError]


def judge_packages(facts: Facts) -> PackageVerdicts:
    """Judge each package that the ship notice names. Raises the error of the first check that refuses the parcel."""
    notice = facts.notice
    if notice is None:
        found = judge(facts, Stage.AGREE, Stage.IMPORT)
        nothing = Admission(awaiting=found.awaiting, notice=None, definitions={}, report=found.report)
        return PackageVerdicts(admission=nothing, awaiting=found.awaiting, waiting={}, refused={})
    of_all = judge(_naming(facts), Stage.AGREE, Stage.IMPORT)
    definitions: dict[PackageVersion, PackageDefinition] = {}
    waiting: dict[PackageVersion, tuple[str, ...]] = {}
    refused: dict[PackageVersion, CourierError] = {}
    for item in notice.packages if not of_all.awaiting else ():
        key = item.package, item.version
        try:
            one = admit(_naming(facts, item))
        except CourierError as error:
            refused[key] = error
        else:
            definitions |= one.definitions if not one.awaiting else {}
            if one.awaiting:
                waiting[key] = one.awaiting
    admission = Admission(awaiting=of_all.awaiting, notice=notice, definitions=definitions, report=of_all.report)
    return PackageVerdicts(admission=admission, awaiting=of_all.awaiting, waiting=waiting, refused=refused)


def _naming(facts: Facts, *items: PackageRef) -> Facts:
    """The same facts, as if the notices named only these packages."""
    return replace(facts, notices=[replace(notice, packages=items) for notice in facts.notices])
