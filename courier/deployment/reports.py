"""What computers report of their deployments: taken from files or recorded at once, and shown.

See docs/decisions/0030-deployment.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.shared_files import open_file
from courier.deployment.status import MAX_FILE, SUFFIX, StatusMessage, parse_status, verify_status
from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, explain
from courier.files import path_text
from courier.site.catalog import deployments
from courier.site.catalog.deployments import Status, Target
from courier.site.home import Site
from courier.text import one_line
from formats.errors import BadSignatureError, FormatError

_BATCH = 500
"""Status messages that are recorded in one transaction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What became of a folder of status files: how many were new, how many known, and why others were refused."""

    new: int
    known: int
    refused: tuple[tuple[str, str], ...]


def record_status(site: Site, message: StatusMessage) -> bool:
    """Record a message that is known to be true; return whether it is new.

    Raises `NotFoundError` where no such computer is deployed to, and `RefusedError` where another message of that
    number is recorded.
    """
    with site.catalogue.writing() as connection:
        target = deployments.target(connection, message.deployment, message.computer)
        if target is None:
            raise NotFoundError(
                f"deployment {message.deployment} does not go to {message.computer}",
                hint="courier deploy list shows all deployments",
            )
        row = _row(message, target.computer)
        before = deployments.record_status(connection, row)
    if before is not None and before != row:
        raise RefusedError(
            f"message {message.number} of {message.computer} says something else than before",
            hint="does another computer use the same policy?",
            code=Code.DEPLOYMENT_REFUSED,
        )
    return before is None


def _row(message: StatusMessage, computer: str) -> Status:
    return Status(
        deployment=message.deployment,
        computer=computer,
        run=message.run,
        number=message.number,
        at_ns=message.at_ns,
        step=message.step,
        outcome=message.outcome,
        message=message.message,
    )


def take_statuses(site: Site, folder: Path, *, progress: Callable[[int], None] = lambda _: None) -> Taken:
    """Take the status files of a folder, of any deployment; they stay there, and may be taken any number of times.

    What is no message, or not authenticated by its computer's key, is named and left. Raises `NotFoundError` where the
    folder is not there.
    """
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is not there, or no folder", hint="is its disk or share mounted?")
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    keys: dict[tuple[str, str], Target | None] = {}
    refused: list[tuple[str, str]] = []
    new = known = 0
    for start in range(0, len(paths), _BATCH):
        rows = []
        for path in paths[start : start + _BATCH]:
            found, shown = _read(site, path, keys), _shown(path)
            if isinstance(found, str):
                refused.append((shown, found))
            else:
                rows.append((shown, found))
        with site.catalogue.writing() as connection:
            for name, row in rows:
                before = deployments.record_status(connection, row)
                if before is None:
                    new += 1
                elif before == row:
                    known += 1
                else:
                    refused.append((name, "another message of that run and number is recorded"))
        progress(len(paths[start : start + _BATCH]))
    return Taken(new=new, known=known, refused=tuple(refused))


def _shown(path: Path) -> str:
    """The name of a file that anybody may have written there, fit for one line and for a document."""
    return one_line(path_text(Path(path.name)))


def _read(site: Site, path: Path, keys: dict[tuple[str, str], Target | None]) -> Status | str:
    """The message of a file, or why it is refused."""
    try:
        with open_file(path) as file:
            parsed = parse_status(file.read(MAX_FILE + 1), place=path.name)
        who = (parsed.message.deployment, parsed.message.computer.casefold())
        if who not in keys:
            with site.catalogue.reading() as connection:
                keys[who] = deployments.target(connection, *who)
        target = keys[who]
        if target is None:
            return f"deployment {who[0]} does not go to {parsed.message.computer}"
        message = verify_status(parsed, target.status_key, place=path.name)
    except OSError as error:
        return str(error.strerror or error)
    except BadSignatureError:
        return "not authenticated by the key of that computer, or altered since"
    except FormatError as error:
        return explain(type(error)(error.message, place=_shown(path))).message
    return _row(message, target.computer)


def statuses(site: Site, name: str) -> dict[str, list[Status]]:
    """The messages of each computer of a deployment, by name; an empty list where it reported nothing.

    Also of a deployment that was removed. Raises `NotFoundError`.
    """
    with site.catalogue.reading() as connection:
        if deployments.find(connection, name) is None:
            raise NotFoundError(f"there is no deployment {name}", hint="courier deploy list shows all deployments")
        found = deployments.statuses(connection, name)
        return {one: list(found.get(one, ())) for one in deployments.targets(connection, name)}
