"""The addresses of other sites: how each is reached, in which order they are tried, and within which limits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from courier.channel.connections import POLL
from courier.channel.http_client import require_httpx, tls_context
from courier.channel.schedule import MAX_RETRIES, MAX_WAIT_SECONDS, Limits, change, zone_of
from courier.errors import NotFoundError, UsageError
from courier.site.catalog import messages, sites
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site
from courier.site.peers import find_site


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What an operator asks of an address; None leaves it as it is, or as it is by default."""

    priority: int | None = None
    schedule: str | None = None
    zone: str | None = None
    cap: str | None = None
    pulse: str | None = None
    retries: int | None = None
    retry_wait: int | None = None
    ca: Path | None = None


def add_address(site: Site, code: str, text: str, wishes: Wishes | None = None) -> Address:
    """Add an address of a pinned site; without a priority it comes after those that there are.

    ``text`` is a folder, an http(s) URL, or `POLL`. Raises `UsageError`, or `NotFoundError` for a site that is not
    pinned and for the extra that http(s) needs.
    """
    if code == site.code:
        raise UsageError(f"{code} is this site itself", hint="name the other site: courier site list")
    find_site(site, code)
    wishes = wishes or Wishes()
    given, text = text, _spelled(text)
    if text.startswith(("http://", "https://")):
        require_httpx()
    if text != POLL and "://" not in text:
        _check_folder(site, text, given)
    new = _changed(Address(site=code, priority=0, address=text), wishes, new=True)
    with site.catalogue.writing() as connection:
        there = sites.addresses(connection, code)
        if any(known.address == text for known in there):
            raise UsageError(f"{text} is already an address of {code}", hint="courier channel address set changes it")
        used = {known.priority: known.address for known in there}
        new = replace(new, priority=_free(wishes.priority, used, code) or max(used, default=0) + 1)
        sites.add_address(connection, new)
    return new


def set_address(site: Site, code: str, text: str, wishes: Wishes) -> Address:
    """Change priority or limits of an address; transfers under way keep to them at once.

    Raises `NotFoundError` or `UsageError`.
    """
    found = find_address(site, code, text)
    changed = _changed(found, wishes, new=False)
    with site.catalogue.writing() as connection:
        others = [known for known in sites.addresses(connection, code) if known.address != found.address]
        used = {known.priority: known.address for known in others}
        changed = replace(changed, priority=_free(wishes.priority, used, code) or found.priority)
        values = {"priority": changed.priority, "limits": changed.limits, "ca": changed.ca}
        sites.change_address(connection, code, found.address, failures=0, tried_ns=None, **values)
    return changed


def poll_before(site: Site, address: Address) -> int | None:
    """The priority of the site's `POLL` address if it comes before this one, which is then never used; else None."""
    with site.catalogue.reading() as connection:
        poll = sites.find_address(connection, address.site, POLL)
    return poll.priority if poll is not None and poll.priority < address.priority else None


def _free(priority: int | None, used: dict[int, str], code: str) -> int | None:
    """A priority that no other address of the site has; raises `UsageError`."""
    if priority is not None and not 1 <= priority <= 1000:
        raise UsageError("a priority is a number from 1 (tried first) to 1000", hint="leave it out to come last")
    if priority in used:
        raise UsageError(
            f"{code} already has an address of priority {priority}: {used[priority]}",
            hint=f"move that one first: courier channel address set {code} {used[priority]} --priority N",
        )
    return priority


def _spelled(text: str) -> str:
    """An address in its one spelling: `POLL`, a server's URL, or the absolute path of a folder. Raises `UsageError`."""
    if text.lower() == POLL:
        return POLL
    scheme, colon, _ = text.partition("://")
    if colon and scheme.lower() in ("http", "https"):
        return _spelled_url(text)
    if colon or not text.strip():
        raise UsageError(
            f"{text[:100]!r} is not an address" if colon else "the address is empty",
            hint="a folder, https://HOST:PORT, or poll",
        )
    return str(Path(text).absolute())


def _spelled_url(text: str) -> str:
    """The address of a server as ``https://HOST`` or ``https://HOST:PORT``; raises `UsageError`."""
    try:
        parts = urlsplit(text)
        is_server = bool(parts.hostname) and parts.path in ("", "/")
        is_bare = not (parts.query or parts.fragment or parts.username)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        is_server, is_bare, port = False, False, ""
    if not (is_server and is_bare):
        hint = "write it like https://hq.example.org:8423 (no path: the path of a request is part of what is signed)"
        raise UsageError(f"{text[:100]!r} is not the address of a server", hint=hint)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _check_folder(site: Site, text: str, given: str) -> None:
    """Refuse what is no folder to share, or was surely not meant as one; the folder need not exist yet."""
    folder = Path(text)
    if folder.is_dir():
        if folder.resolve().is_relative_to(site.home.resolve()):
            raise UsageError(f"{text} is in the home of this site", hint="name a folder that both sites reach")
    elif folder.exists():
        raise UsageError(f"{text} is a file", hint="name a folder that both sites reach")
    elif re.fullmatch(r"https?:.*|[\w.-]+:[0-9]{1,5}", given):
        raise UsageError(f"{given[:100]!r} is not an existing folder", hint="a server is written https://HOST:PORT")


def _changed(address: Address, wishes: Wishes, *, new: bool) -> Address:
    """The address with what was asked; a ``new`` one has this computer's time zone. Raises `UsageError` and others."""
    limits = _changed_limits(Limits.parse(address.limits), wishes, new=new)
    ca = address.ca if wishes.ca is None else _checked_ca(address, wishes.ca)
    return replace(address, limits=limits.to_text(), ca=ca)


def _changed_limits(limits: Limits, wishes: Wishes, *, new: bool) -> Limits:
    zone = wishes.zone or (local_zone() if new else None)
    limits = change(limits, schedule=wishes.schedule, zone=zone, cap=wishes.cap, pulse=wishes.pulse)
    if wishes.retries is not None:
        if not 0 <= wishes.retries <= MAX_RETRIES:
            raise UsageError(f"there can be 0 to {MAX_RETRIES} retries", hint="2 is usual")
        limits = replace(limits, retries=wishes.retries)
    if wishes.retry_wait is not None:
        if not 1 <= wishes.retry_wait <= MAX_WAIT_SECONDS:
            raise UsageError(f"a retry waits 1 to {MAX_WAIT_SECONDS} seconds", hint="60 is usual")
        limits = replace(limits, retry_seconds=wishes.retry_wait)
    return limits


def _checked_ca(address: Address, path: Path) -> str:
    """The absolute path of a file of certificates that can be read; raises `UsageError` or `NotFoundError`."""
    if not address.address.startswith("https://"):
        raise UsageError("--ca is for https addresses", hint="leave it out")
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist", hint="--ca takes the PEM file of the authority to trust")
    tls_context(str(path.absolute()))
    return str(path.absolute())


def local_zone() -> str:
    """The IANA name of this computer's time zone; ``UTC`` where it has none."""
    named = os.environ.get("TZ", "").removeprefix(":")
    link = Path("/etc/localtime")
    linked = str(link.resolve()).partition("/zoneinfo/")[2] if not named and link.exists() else ""
    zone = named or linked.removeprefix("posix/")
    if not zone or zone.removeprefix("Etc/") == "UTC":
        return "UTC"
    try:
        zone_of(zone)
    except UsageError:
        return "UTC"
    return zone


def find_address(site: Site, code: str, text: str) -> Address:
    """The address of a site that ``text`` stands for; raises `NotFoundError`, or `UsageError` for what is none."""
    find_site(site, code)
    with site.catalogue.reading() as connection:
        found = sites.find_address(connection, code, _spelled(text))
    if found is None:
        raise NotFoundError(f"{text} is not an address of {code}", hint="courier channel address list")
    return found


def remove_address(site: Site, code: str, text: str) -> Address:
    """Remove an address and return it; raises `NotFoundError` or `UsageError`.

    What was handed over and not acknowledged may lie there for good: it goes again by the next address, at once.
    """
    found = find_address(site, code, text)
    with site.catalogue.writing() as connection:
        sites.remove_address(connection, code, found.address)
        messages.send_again(connection, now(), site=code)
    return found


def list_addresses(site: Site) -> list[Address]:
    """All addresses, by site, in the order in which they are tried."""
    with site.catalogue.reading() as connection:
        return sites.addresses(connection)
