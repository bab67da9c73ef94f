"""Has people told: runs hooks and sends messages in a thread of its own, so that nothing else waits for a service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from courier.care.config import HOOK_SECONDS, NOTIFY, Config
from courier.care.hooks import facts_of, run_hook
from courier.care.notice_book import HOOK, NoticeBook
from courier.care.notices import EVENTS, Notice, message_of
from courier.care.notify import SECONDS, Outcome, Sent, addresses_of, require_notify, send, variables_of
from courier.errors import CourierError
from courier.files import explain_os
from courier.site.clock import now
from courier.site.keyring import key_variables
from courier.site.log import LOGGER
from courier.text import plural

END_SECONDS = SECONDS + 15.0
"""How long the end of a watch waits for what is just being told."""
LOOK_AGAIN_SECONDS = 20.0


def ways_of(config: Config) -> dict[str, list[str]]:
    """The ways by which each event is told: the services that are set, and the hook of the event."""
    services = [f"{NOTIFY}.{name}" for name in sorted(config.notify)]
    return {
        event: [*(services if event in config.told_events else []), *([HOOK] if event in config.hooks else [])]
        for event in EVENTS
    }


class Teller:
    """Tells what is due in a book, as a configuration says. ``log`` is told of each failure; it may be called from
    another thread.
    """

    def __init__(self, home: Path, site: str, book: NoticeBook, log: Callable[[str], None]) -> None:
        self._home, self._site, self._book, self._log = home, site, book, log
        self._config = Config()
        self._asked, self._ended, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._turn = threading.Lock()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)
        self._thread.start()

    def look(self, config: Config) -> None:
        """Have told what is due."""
        with self._turn:
            self._config = config
            self._idle.clear()
            self._asked.set()

    def end(self, *, told: bool = False, seconds: float = END_SECONDS) -> None:
        """End, and wait for what is just being told, or with ``told`` for all that is due; ``seconds`` at most."""
        if told:
            self._idle.wait(seconds)
        self._ended.set()
        self._asked.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._asked.wait(LOOK_AGAIN_SECONDS)
                self._asked.clear()
                try:
                    self._tell_all(self._config)
                except Exception as error:  # whatever it is: the next notice may be told
                    self._log(f"notices could not be told: {_why(error)}")
                with self._turn:
                    if not self._asked.is_set():
                        self._idle.set()
        finally:
            self._idle.set()

    def _tell_all(self, config: Config) -> None:
        for way, notices in self._book.due(now()).items():
            if self._ended.is_set():
                return
            if way != HOOK:
                self._try(way, notices, lambda some, way=way: self._send(config, way, some))  # type: ignore[misc]
                continue
            for one in notices:
                if not self._ended.is_set():
                    self._try(way, [one], lambda some: self._run_hook(config.hooks, config, some[0]))

    def _try(self, way: str, notices: list[Notice], act: Callable[[list[Notice]], Sent]) -> None:
        self._book.begin(way, notices)
        try:
            done = act(notices)
        except (CourierError, OSError) as error:
            done = Sent(outcome=Outcome.FAILED, reason=_why(error))
        name = f"the hook for {notices[0].event}" if way == HOOK else way
        if done.outcome is Outcome.SENT:
            LOGGER.info("%s: %s told", name, plural(len(notices), "notice"))
            self._book.told(way, notices)
            return
        is_final = done.outcome is Outcome.UNKNOWN
        self._book.failed(way, notices, done.reason, now_ns=now(), final=is_final)
        again = "it is not tried again" if is_final else "it is tried again later"
        self._log(f"{name}: {plural(len(notices), 'notice')} could not be told: {done.reason}; {again}")

    def _send(self, config: Config, way: str, notices: list[Notice]) -> Sent:
        require_notify()
        name = way.removeprefix(f"{NOTIFY}.")
        title, text = message_of(self._site, notices)
        return send(addresses_of(name, config.notify.get(name, "")), title, text)

    def _run_hook(self, hooks: Mapping[str, tuple[str, ...]], config: Config, one: Notice) -> Sent:
        if one.event not in hooks:
            return Sent(outcome=Outcome.SENT)  # it was taken away since
        seconds = config.hook_seconds or HOOK_SECONDS
        private = key_variables(self._home / "keys") | variables_of(config.notify.values())
        return run_hook(hooks[one.event], facts_of(self._site, self._home, one), seconds=seconds, private=private)


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        error = explain_os(error)
    return f"{error.message} ({error.hint})" if isinstance(error, CourierError) else f"unexpected: {error!r}"
