"""Options of commands that fetch from points: from where, what proves it, when and how fast."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.console import Console

if TYPE_CHECKING:
    from courier.distribution.download_limits import DownloadLimits, Priority
    from courier.distribution.download_pace import Pace, Unpaced
    from courier.distribution.download_shared import Manner
    from courier.distribution.source import Source

MOST_CONNECTIONS = 16
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

FROM = Annotated[
    list[str],
    typer.Option(
        "--from",
        metavar="URL",
        help="Where a point is: http(s) URL, folder or share. Several: the first that works, then the next.",
    ),
]
CARD = Annotated[
    list[Path],
    typer.Option(
        "--card",
        metavar="FILE",
        help="Card of the site that runs the points; further ones: of sites whose packages they hold.",
    ),
]
TOKEN_FILE = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="Token that the points ask for; shown to them alone."),
]
CA_FILE = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="Certificates to check https with, in PEM; else the system's."),
]
PRIORITY = Annotated[
    str,
    typer.Option(
        "--priority",
        metavar="P",
        help="How it runs: foreground, high, normal or low. All but foreground stand back and keep the limits.",
    ),
]
WINDOW = Annotated[
    list[str] | None,
    typer.Option(
        "--window", metavar="HH:MM-HH:MM", help="When it may run, such as 'mon-fri 20:00-06:00'; several count."
    ),
]
RATE = Annotated[
    str | None, typer.Option("--rate", metavar="RATE", help="Most bytes a second: 10MB/s, or '8-18 1MB/s; 18-8 none'.")
]
SETTINGS = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="TOML file with window, rate and zone; read again when it changes."
    ),
]
PARALLEL = Annotated[
    int, typer.Option("--parallel", metavar="N", min=1, max=MOST_CONNECTIONS, help="Connections at one time.")
]
RETRY_FOR = Annotated[
    str,
    typer.Option("--retry-for", metavar="TIME", help="Give up when nothing came for so long: 90s, 10m, 14d."),
]


def sources_of(addresses: list[str], token_file: Path | None, ca_file: Path | None) -> tuple[Source, ...]:
    """The sources that an operator names. Raises `UsageError`."""
    from courier.distribution.folder_source import folder_source
    from courier.distribution.http_source import http_source, read_token
    from courier.distribution.source import Patience

    token = "" if token_file is None else read_token(token_file)
    return tuple(
        http_source(one, patience=Patience(), token=token, ca_file=ca_file)
        if re.match("https?:", one)
        else folder_source(one)
        for one in addresses
    )


def manner_of(
    console: Console,
    priority: str,
    windows: list[str],
    rate: str | None,
    settings: Path | None,
    *,
    parallel: int,
    retry_for: str,
    stop: threading.Event,
) -> Manner:
    """How an operator wants it to be fetched. Raises `UsageError`."""
    from courier.distribution.download_shared import Manner

    chosen = priority_of(priority)
    return Manner(
        connections=parallel,
        priority=chosen,
        pace=pace_of(console, chosen, windows, rate, settings, stop),
        retry_for=seconds_of(retry_for),
        warn=console.warn,
    )


def priority_of(text: str) -> Priority:
    """The priority that an operator names. Raises `UsageError`."""
    from courier.distribution.download_limits import Priority
    from courier.errors import UsageError

    try:
        return Priority(text.lower())
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no priority", hint=f"one of {', '.join(Priority)}") from None


def pace_of(
    console: Console,
    priority: Priority,
    windows: list[str],
    rate: str | None,
    settings: Path | None,
    stop: threading.Event,
) -> Pace | Unpaced:
    """The pace of a download. The options are checked also where the foreground does not need them."""
    from courier.distribution.download_limits import DownloadLimits, Priority, make_limits
    from courier.distribution.download_pace import Pace, SettingsFile, Unpaced
    from courier.errors import UsageError

    if settings is not None and (windows or rate is not None):
        raise UsageError("--settings has windows and rate", hint="give it, or --window and --rate")
    given = make_limits(windows, rate)
    limits: Callable[[], DownloadLimits] = lambda: given  # noqa: E731
    if settings is not None:
        limits = SettingsFile(settings, warn=console.warn)
    if priority is Priority.FOREGROUND or (settings is None and given == DownloadLimits()):
        return Unpaced()
    return Pace(limits, stop=stop)


def seconds_of(text: str) -> float:
    """The seconds of a time such as ``90s``, ``10m`` or ``14d``. Raises `UsageError`."""
    from courier.errors import UsageError

    match = re.fullmatch(r"([0-9]{1,7})([smhd])", text.strip().lower())
    if match is None:
        raise UsageError(f"{text[:40]!r} is no time", hint="write it like 90s, 10m, 4h or 14d")
    return float(int(match[1]) * _SECONDS[match[2]])


@contextlib.contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Let every wait end when the command is ended."""
    try:
        yield
    finally:
        stop.set()
