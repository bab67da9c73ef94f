"""Running the command line: the app, and exit codes for whatever goes wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated, Any, NoReturn

import typer

from courier import __version__
from courier.cli import catalog, channel, demo, package, parcel, site
from courier.cli.command import CURRENT, HOME, group
from courier.errors import EXIT_CODES, CourierError, StoppedError, UsageError, explain

CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
"""The base of the argument parser's errors, whether typer brings its own copy of click or imports it."""

STOPPED = 130
"""What typer returns after Ctrl-C, in place of the interruption itself; no code of ours."""

_CODES = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())

app = group(
    "Build, ship, verify and import parcels of OS-image packages between sites whose network cannot carry them.\n\n"
    f"Exit codes: {_CODES}."
)
app.add_typer(site.app, name="site")
app.add_typer(package.app, name="package")
app.add_typer(parcel.app, name="parcel")
app.add_typer(channel.app, name="channel")
app.add_typer(catalog.app, name="catalog")
site.add_init(app)
demo.add_demo(app)


def _version(value: bool) -> None:
    if value:
        print(f"courier {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    home: HOME = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    if home is not None:
        CURRENT.home = home


def main() -> NoReturn:
    """Run the command line and exit with a code of `EXIT_CODES`."""
    _utf8()
    CURRENT.json = "--json" in sys.argv
    CURRENT.json_lines = "--json-lines" in sys.argv
    _stop_as_by_hand()
    failure: CourierError | None = None
    code = 0
    try:
        try:
            code = _run()
        except CourierError as error:
            failure = error
        except KeyboardInterrupt:
            failure = StoppedError("stopped; what was finished is kept", hint="the same command goes on from there")
        except BrokenPipeError:
            raise
        except Exception as error:
            import traceback

            traceback.print_exc()
            message = f"unexpected: {type(error).__name__}: {error}"
            failure = CourierError(message, hint="nothing was lost; report this with the lines above")
        if failure is not None:
            code = failure.exit_code
            CURRENT.error(failure)
    except BrokenPipeError:
        # Whoever read our output has gone (such as `head`); that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run() -> int:
    from courier.files import explain_os
    from formats.errors import FormatError

    try:
        result = app(standalone_mode=False)
        if result == STOPPED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit:
        # The argument parser's own answer to a broken pipe; nothing else of ours exits there.
        raise BrokenPipeError from None
    except CLICK_ERROR as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return UsageError.exit_code
        command = context.command_path if context else "courier"
        raise UsageError(error.format_message().replace("\n", " "), hint=f"{command} --help") from None
    except FormatError as error:
        raise explain(error) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise explain_os(error) from None


def _stop_as_by_hand() -> None:
    """Whoever ends us, a service or a terminal that was closed, ends us as Ctrl-C does: all is tidied up and said."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Who told a signal to be ignored (nohup) wants it so.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _utf8() -> None:
    """Names in any script are printed even where the terminal's encoding is narrow."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
