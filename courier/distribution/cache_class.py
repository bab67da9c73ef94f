"""Settings of a cache that the site has for a class of clients, from the signed statement of a point."""

from __future__ import annotations

from pathlib import Path

from courier.distribution.cache_folder import Cache, apply_settings, changing
from courier.errors import NotFoundError
from formats.documents.point import CacheSettings, PointStatement


def settings_of(statement: PointStatement, client_class: str) -> CacheSettings:
    """The settings for a class. Raises `NotFoundError`."""
    for one in statement.cache:
        if one.client_class == client_class:
            return one
    known = ", ".join(one.client_class for one in statement.cache[:10]) or "none"
    raise NotFoundError(
        f"point {statement.point} of {statement.site} has no settings for the class {client_class}",
        hint=f"it has these classes: {known}",
    )


def apply_class(home: Path, statement: PointStatement, client_class: str) -> Cache:
    """Give the cache at ``home`` the size and the minimum age that the site has for a class; return it.

    ``statement`` is verified. What is on the disk stays; a smaller size counts with the next placing. Raises
    `NotFoundError` for a class that is not there, `RefusedError` for anyone but the cache's owner and root, and what
    `changing` raises.
    """
    wanted = settings_of(statement, client_class)
    with changing(home, make=True) as cache:
        settings = cache.settings
        if (settings.size, settings.minimum_age, settings.set_by) == (
            wanted.size,
            wanted.minimum_age,
            statement.site,
        ):
            return cache
        return apply_settings(cache, size=wanted.size, minimum_age=wanted.minimum_age, set_by=statement.site)
