"""Legal names: site codes, package and parcel IDs, paths in a package, names of archive members.

A *path in a package* may be any POSIX name that UTF-8 can hold, so that a package comes out as it went in. A *member
name* is the name under which a stock 7-Zip on any system creates a file, so the rules are much stricter. Content whose
path is not portable has a member name made from its digest (`formats.documents.contents`).
"""

from __future__ import annotations

import re
import unicodedata

from formats.errors import IllegalNameError, MalformedError

_SITE = re.compile(r"[A-Z0-9]{3}")
_PACKAGE = re.compile(r"([A-Z0-9]{3})[0-9A-F]{5}")
_PARCEL = re.compile(r"([A-Z0-9]{3})-([0-9]{6})")
_WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?")
_NOT_PORTABLE = re.compile(r'[\x00-\x1f\x7f"*:<>?\\|]')
_PLAIN = r"(?!(?i:con|prn|aux|nul|com|lpt))[A-Za-z0-9_][A-Za-z0-9_.+-]*(?<!\.)"
_PLAIN_MEMBER = re.compile(rf"{_PLAIN}(?:/{_PLAIN})*")
"""Names that are portable at a glance, as most are, so that a million of them need no closer look."""

MAX_PACKAGES = 0xFFFFF
"""The highest number in a package ID."""
MAX_PARCELS = 999_999
"""The highest number in a parcel ID."""
MAX_VERSION = 10**18
"""The highest version of a package; one more still fits into the integers of every database."""
MAX_COMPONENT = 255
"""The most bytes of UTF-8 in a component of a path (the limit of ext4, XFS, APFS and NTFS in the worst case)."""
MAX_PATH = 4000
"""The most bytes of UTF-8 in a path: Linux opens no longer one at once, even below an open folder (4,095 bytes)."""
MAX_DEPTH = 512
"""The most components in a path; deeper paths cannot be opened by name on common systems."""
MAX_TARGET = 4095
"""The most bytes of UTF-8 in the target of a symbolic link (Linux keeps no longer one)."""
MAX_MEMBER = 200
"""The most characters in a member name, so that with a folder before it it stays under the 260 of Windows."""


def check_site(code: str, *, place: str = "") -> str:
    """Return ``code`` if it is a site code (3 characters A-Z 0-9); raise `MalformedError` otherwise."""
    if not _SITE.fullmatch(code):
        raise MalformedError(f"{code!r} is not a site code (3 characters A-Z 0-9)", place=place)
    return code


def check_package(package_id: str, *, place: str = "") -> str:
    """Return ``package_id`` if it is one (site code and 5 hex digits); raise `MalformedError` otherwise."""
    if not _PACKAGE.fullmatch(package_id):
        raise MalformedError(
            f"{package_id!r} is not a package ID (site code + 5 hex digits, such as HQ100001)", place=place
        )
    return package_id


def check_parcel(parcel_id: str, *, source: str = "", place: str = "") -> str:
    """Return ``parcel_id`` if it is one (``HQ1-000042``), of ``source`` if given; raise `MalformedError` otherwise."""
    if not _PARCEL.fullmatch(parcel_id):
        raise MalformedError(f"{parcel_id!r} is not a parcel ID (such as HQ1-000042)", place=place)
    if source and parcel_id[:3] != source:
        raise MalformedError(f"{parcel_id} is not a parcel of site {source}", place=place)
    return parcel_id


def is_package(name: str) -> bool:
    """Whether ``name`` is a package ID."""
    return _PACKAGE.fullmatch(name) is not None


def is_parcel(name: str) -> bool:
    """Whether ``name`` is a parcel ID."""
    return _PARCEL.fullmatch(name) is not None


def parcel_id(site: str, number: int) -> str:
    """The ID of the ``number``-th parcel of ``site``: ``HQ1-000042``."""
    return check_parcel(f"{site}-{number:06d}")


def package_id(site: str, number: int) -> str:
    """The ID of the ``number``-th package of ``site``: ``HQ100001``."""
    return check_package(f"{site}{number:05X}")


def volume_name(parcel: str, number: int) -> str:
    """The label and folder name of a volume, in ISO 9660 d-characters: ``HQ1_000042_V003``."""
    return f"{check_parcel(parcel).replace('-', '_')}_V{number:03d}"


def check_path(path: str, *, place: str = "") -> str:
    """Return ``path`` if a package listing may hold it; raise `IllegalNameError` otherwise.

    It must be relative, with ``/`` between components, without empty, ``.`` and ``..`` components and without NUL, and
    be valid UTF-8 within the limits of this module.
    """
    if _is_plain_path(path):
        return path
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise IllegalNameError("name is not valid Unicode", place=place or ascii(path)) from None
    where = place or path
    if not raw or len(raw) > MAX_PATH:
        raise IllegalNameError("name is empty or too long", place=where)
    if b"\0" in raw:
        raise IllegalNameError("name holds a NUL", place=where)
    parts = raw.split(b"/")
    if len(parts) > MAX_DEPTH:
        raise IllegalNameError(f"more than {MAX_DEPTH} folders deep", place=where)
    for part in parts:
        if part in (b"", b".", b".."):
            raise IllegalNameError("absolute, or with an empty, '.' or '..' component", place=where)
        if len(part) > MAX_COMPONENT:
            raise IllegalNameError(f"a component has more than {MAX_COMPONENT} bytes", place=where)
    return path


def _is_plain_path(path: str) -> bool:
    """Whether a path is legal at a glance, as most are, so that a million of them need no closer look."""
    return (
        path.isascii()
        and 0 < len(path) <= MAX_COMPONENT
        and path[0] not in "./"
        and path[-1] != "/"
        and "//" not in path
        and "/." not in path
        and "\0" not in path
    )


def check_target(target: str, *, place: str = "") -> str:
    """Return ``target`` if a symbolic link in a listing may have it; raise `IllegalNameError` otherwise.

    Links are data, and nothing of ours follows one, so it may lead anywhere; it only has to be a text that systems can
    keep.
    """
    try:
        raw = target.encode()
    except UnicodeEncodeError:
        raise IllegalNameError("link target is not valid Unicode", place=place or ascii(target)) from None
    if not raw or len(raw) > MAX_TARGET or b"\0" in raw:
        raise IllegalNameError("link target is empty, too long or holds a NUL", place=place or target[:100])
    return target


def leads_outside(path: str, target: str) -> bool:
    """Whether the symbolic link ``path`` -> ``target`` leads out of the package, or may by way of another link.

    It does if it is absolute or climbs above the root of the package. It may if ``..`` stands after a name: the name
    may be another link, and ``up -> ../..`` and ``out -> deep/up/..`` together leave the package, though neither does
    alone. No chain of links for which this is false leads out.
    """
    if target.startswith("/"):
        return True
    steps = [part for part in target.split("/") if part not in ("", ".")]
    climbs = next((n for n, part in enumerate(steps) if part != ".."), len(steps))
    return climbs > path.count("/") or ".." in steps[climbs:]


def is_portable(name: str) -> bool:
    """Whether every common file system can hold ``name`` unchanged, and 7-Zip on any platform can create it.

    It must be in NFC, without characters that Windows reserves, device names, components that end in a dot or a space,
    and characters that this Python's Unicode does not know, of at most `MAX_MEMBER` characters, and of at most 200
    bytes of UTF-8 a component.
    """
    return _is_member(name) and (name.isprintable() or "Cn" not in map(unicodedata.category, set(name)))


_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Categories of characters that nobody sees: controls, marks of direction, private and broken ones, line ends."""


def _is_member(name: str) -> bool:
    if len(name) <= MAX_MEMBER and _PLAIN_MEMBER.fullmatch(name):
        return True
    try:
        check_path(name)
    except IllegalNameError:
        return False
    if len(name) > MAX_MEMBER or name != unicodedata.normalize("NFC", name) or not windows_keeps(name):
        return False
    # What is printable, as Python sees at a glance, has none of these, and no character that it does not know.
    if not (name.isascii() or name.isprintable()) and not _UNSEEN.isdisjoint(map(unicodedata.category, set(name))):
        return False
    return not any(part[0] == " " or len(part.encode()) > 200 for part in name.split("/"))


def windows_keeps(path: str) -> bool:
    """Whether Windows creates ``path`` unchanged.

    It refuses some characters, takes others for separators of folders, drives and streams, writes to devices by name,
    and drops a dot or a space at the end of a component.
    """
    if _NOT_PORTABLE.search(path):
        return False
    return not any(_WINDOWS_DEVICES.fullmatch(part) or part.endswith((".", " ")) for part in path.split("/"))


def fold(name: str) -> str:
    """A form that is equal for two names that differ only in case or Unicode normalisation."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def check_member(name: str, *, place: str = "") -> str:
    """Return ``name`` if it may name an archive member; raise `IllegalNameError` otherwise.

    The rules are those of `is_portable`, except that characters which this Python's Unicode does not know are allowed:
    the sender may have a newer Python, and its archives must not be refused for that.
    """
    if not _is_member(name):
        raise IllegalNameError("not a portable member name", place=place or ascii(name))
    return name
