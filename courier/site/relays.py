"""Relays: sites that may vouch for packages of sites whose card is not pinned here."""

from __future__ import annotations

from collections.abc import Sequence

from courier.errors import UsageError
from formats.errors import FormatError
from formats.names import check_site

NONE = "none"
"""What an operator writes for: no site."""


def relay_codes(given: Sequence[str], *, own: str) -> tuple[str, ...]:
    """The codes of relays as an operator gave them, each once; ``none`` alone stands for no site.

    Raises `UsageError` for what is no site code, or this site's ``own``.
    """
    if list(given) == [NONE]:
        return ()
    for code in given:
        try:
            check_site(code)
        except FormatError as error:
            raise UsageError(f"--relay: {error.message}", hint="such as HQ2; none: no site") from None
        if code == own:
            raise UsageError(f"--relay {code} is this site", hint="name another site") from None
    return tuple(dict.fromkeys(given))
