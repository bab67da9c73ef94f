"""Which package ID and which version an added package gets. Pure.

An ID or version is given out once: two contents under one number would make every document about it ambiguous.
"""

from __future__ import annotations

from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import RefusedError, UsageError
from formats.errors import FormatError
from formats.names import MAX_PACKAGES, MAX_VERSION, check_package, package_id


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenOut:
    """The numbers a site has given out, as its catalogue knows them.

    ``next_version`` is the lowest version free for the package in question, ``last_package`` the number in the newest
    package ID. ``lost`` is True where an earlier catalogue was lost, so that higher numbers may have been given out.
    """

    next_version: int
    last_package: int
    lost: bool


def choose_number(code: str, package: str | None, version: int | None, given: GivenOut) -> tuple[str, int]:
    """Return the package ID and version for an add at site ``code``.

    ``package`` and ``version`` are what the operator asks for: None stands for a new ID, or the next version. Raises
    `UsageError` for a number of a wrong form or one that was used, `RefusedError` for a package of another site, when
    the numbers are used up, and when a lost catalogue may have given out the number.
    """
    if given.lost:
        _check_not_lost(package, version, given.next_version)
    if package is None:
        if version is not None and version < 1:
            raise UsageError("a version is a number from 1", hint="leave --version out to get the next one")
        return _next_id(code, given.last_package + 1), version or 1
    try:
        check_package(package)
    except FormatError as error:
        raise UsageError(error.message, hint="leave --id out to get a new one") from None
    if not package.startswith(code):
        raise RefusedError(
            f"{package} is a package of site {package[:3]}; this is {code}",
            hint=f"only its source site makes versions of it; give an ID that begins with {code}, or none",
            code=Code.FOREIGN_PACKAGE,
        )
    if given.next_version > MAX_VERSION:
        raise RefusedError(
            f"the versions of {package} are used up: {MAX_VERSION} is the highest there is",
            hint="leave --id out to make it a new package",
            code=Code.VERSIONS_USED_UP,
        )
    if version is not None and version < given.next_version:
        raise version_used(package, version, given.next_version - 1)
    return package, version or given.next_version


def version_used(package: str, version: int, last: int) -> UsageError:
    """Return the error for a version that is taken by other content, or lower than one that is."""
    return UsageError(
        f"version {version} of {package} is not higher than {last}, the last one used",
        hint=f"use --version {last + 1} or higher, or leave it out",
        code=Code.VERSION_USED,
    )


def _check_not_lost(package: str | None, version: int | None, next_version: int) -> None:
    if package is None:
        what, hint = "which package IDs", "--id, above all that other sites know (there: courier package list)"
    elif version is None and next_version == 1:
        what, hint = f"which versions of {package}", "--version, 1 for a new package"
    else:
        return
    raise RefusedError(
        f"{what} were given out before the catalogue was lost is not known",
        hint=f"give {hint}",
        code=Code.IDS_LOST,
    )


def _next_id(code: str, number: int) -> str:
    if number > MAX_PACKAGES:
        raise RefusedError(
            f"the package IDs of {code} are used up: {package_id(code, MAX_PACKAGES)} was given out",
            hint="give one that is free with --id: courier package list shows those in use",
            code=Code.IDS_USED_UP,
        )
    return package_id(code, number)
