"""The command line: all commands under ``courier``, and an exit code for whatever goes wrong."""

from __future__ import annotations

import contextlib
import functools
import gc
import signal
import sys
import threading
from typing import Annotated, Any, NoReturn

import typer

from courier import __version__
from courier.cli import (
    backup,
    cache,
    catalog,
    channel,
    cluster,
    computer,
    config,
    dashboard,
    demo,
    deploy,
    doctor,
    download,
    notify,
    package,
    parcel,
    plan,
    point,
    site,
    standalone,
    state,
    status,
)
from courier.cli.command import TopGroup, group
from courier.cli.command_tree import tree_of
from courier.cli.console import Console, drop_output
from courier.error_codes import EXIT_CODES
from courier.errors import CourierError, StoppedError, UsageError, explain
from courier.text import harmless

_RARELY = 50000
"""So many more records, lists and the like there are before Python looks for those that only hold one another. They are
few here, and a command that handles very many files would be searched over and over."""
CTRL_C = 130
"""What typer returns after Ctrl-C in place of the interruption; no exit code of ours."""

app = group(
    "Build, ship, verify and import parcels of OS-image packages between sites whose network cannot carry them.\n\n"
    f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."
)
for commands in (site.init_app, demo.app, status.app, dashboard.app, doctor.app, backup.app, download.app):
    app.add_typer(commands)
for name, commands in (
    ("site", site.app),
    ("package", package.app),
    ("parcel", parcel.app),
    ("channel", channel.app),
    ("plan", plan.app),
    ("point", point.app),
    ("cache", cache.app),
    ("cluster", cluster.app),
    ("standalone", standalone.app),
    ("computer", computer.app),
    ("state", state.app),
    ("deploy", deploy.app),
    ("catalog", catalog.app),
    ("config", config.app),
    ("notify", notify.app),
):
    app.add_typer(commands, name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"courier {__version__}")
        raise typer.Exit


@app.callback(cls=TopGroup)
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of ``courier`` itself."""


@functools.cache
def command_tree() -> Any:
    """Every command below ``courier``, as the argument parser's own objects; made once in a process."""
    return tree_of(app)


def main() -> NoReturn:
    """Run the command line and exit with a code of `EXIT_CODES`."""
    gc.set_threshold(_RARELY)
    _print_any_name()
    _end_by_signal_as_by_ctrl_c()
    # Errors of the command line itself come before any option has been read.
    console = Console(json="--json" in sys.argv, json_lines="--json-lines" in sys.argv)
    code = 0
    try:
        try:
            code = _run(console)
        except CourierError as error:
            code = error.exit_code
            _report(console, error)
    except BrokenPipeError:
        # Whoever read our output has gone (such as `head`): that is no error of ours.
        drop_output()
    sys.exit(code)


def _report(console: Console, error: CourierError) -> None:
    """Report the error that ended a command: where the output takes no JSON document any more, on stderr."""
    try:
        console.error(error)
    except BrokenPipeError:
        raise
    except OSError:
        with contextlib.suppress(OSError):
            Console().error(error)
        drop_output()


def _typed_command() -> str:
    """The command that was typed, such as ``courier parcel write``: not all errors of the parser say whose they are."""
    found, names = command_tree(), ["courier"]
    for word in sys.argv[1:]:
        if (below := getattr(found, "commands", {}).get(word)) is not None:
            found, names = below, [*names, word]
    return " ".join(names)


def _run(console: Console) -> int:
    """Run a command and return its exit code. Raises `CourierError` for whatever goes wrong, or `BrokenPipeError`."""
    from courier.files import explain_os
    from formats.errors import FormatError

    stopped = StoppedError("stopped; what was finished is kept", hint="give the same command again to go on")
    try:
        result = command_tree()(prog_name="courier", obj=console, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        raise stopped from None
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else _typed_command()
        raise UsageError(error.format_message().replace("\n", " "), hint=f"{command} --help") from None
    except SystemExit:
        # The argument parser's own answer to a broken pipe; nothing else of ours exits there.
        raise BrokenPipeError from None
    except (CourierError, BrokenPipeError):
        raise
    except FormatError as error:
        raise explain(error) from None
    except OSError as error:
        raise explain_os(error) from None
    except Exception as error:
        import traceback

        for line in traceback.format_exc().splitlines():
            print(harmless(line), file=sys.stderr)
        message = f"unexpected: {type(error).__name__}: {error}"
        raise CourierError(message, hint="nothing was lost; report this with the lines above") from None
    if result == CTRL_C:
        raise stopped
    return result if isinstance(result, int) else 0


def _end_by_signal_as_by_ctrl_c() -> None:
    """Let a service manager or a closed terminal end a command as Ctrl-C does: it tidies up and says so."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that was set to be ignored (by nohup, for instance) stays ignored.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _print_any_name() -> None:
    """Print names in any script even where the encoding of the terminal is narrow."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
