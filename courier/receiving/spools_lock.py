"""The lock of all spools, as the handlers of messages take it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from courier.errors import BusyError, InUseError
from courier.files import locked
from courier.site.home import Site


@contextmanager
def spools_locked(site: Site) -> Iterator[None]:
    """Hold the lock while the block runs. Raises `InUseError` while another command receives or imports something."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(site.home / "parcels" / "in" / "lock"))
        except BusyError as error:
            raise InUseError(error.message, hint=error.hint, code=error.code) from None
        yield
