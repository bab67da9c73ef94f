"""``config.toml`` in a site's home: what the operators of a site would else give as options each time.

Options win over it. It also says whom `courier channel watch` tells, and which commands it runs. Policies, quotas and
limits are no options: those are settings (`courier site policy`, `courier parcel limits`).
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from courier.care.notices import EVENTS
from courier.errors import CourierError, NotFoundError, UsageError
from courier.files import write_atomic
from courier.media.kinds import medium_capacity
from courier.parcel.parity_plan import Redundancy
from courier.site.file_names import CONFIG
from courier.site.home import Site
from formats.codecs import COMPRESSIONS
from formats.errors import FormatError
from formats.names import check_site

GROUPS = "groups"
HOOKS = "hooks"
NOTIFY = "notify"
MAX_DAYS = 3650
HOOK_SECONDS = 60
"""How long the command of a hook may run, without a setting."""
MAX_HOOK_SECONDS = 3600
MAX_WORDS = 100
"""Words of the command of a hook."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a site's operators have set; empty or 0: not set.

    ``media`` or ``capacity``: of parcels that are created, and ``redundancy`` and ``compress`` of them. ``carrier``: of
    parcels that are shipped. ``transit_days``: how long a parcel may be under way, and how long plans reckon that it
    is. ``groups``: codes of sites by the name of the group, which ``--to @NAME`` stands for.

    ``notify``: where the address of a service is kept that is told of events (``file:FILE``, ``env:NAME``), by the name
    of the service, and ``notify_events``: the events, all where it is empty. ``hooks``: the words of the command that
    is run for an event, and ``hook_seconds``: how long it may run; 0: `HOOK_SECONDS`.
    """

    media: str = ""
    capacity: str = ""
    redundancy: str = ""
    compress: str = ""
    carrier: str = ""
    transit_days: int = 0
    notify_events: str = ""
    hook_seconds: int = 0
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    notify: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def told_events(self) -> frozenset[str]:
        """The events that services are told of."""
        return frozenset(_words(self.notify_events)) if self.notify_events else frozenset(EVENTS)

    def expand(self, destinations: Iterable[str]) -> list[str]:
        """The destinations, with each ``@NAME`` replaced by the sites of that group that are not there otherwise.

        A site that is itself named twice stays twice, for whoever refuses that. Raises `NotFoundError` for a group that
        is not set.
        """
        found: list[str] = []
        grouped: set[str] = set()
        for one in destinations:
            if one.startswith("@") and one[1:].lower() not in self.groups:
                hint = f"courier config set {GROUPS}.{one[1:].lower() or 'NAME'} BR1,BR2 makes it; courier config show"
                raise NotFoundError(f"there is no group of sites called {one}", hint=hint)
            if one.startswith("@"):
                new = [code for code in self.groups[one[1:].lower()] if code not in found]
                grouped.update(new)
                found += new
            elif one.lower() in self.groups and not is_code(one):
                hint = f"the group of that name is written @{one.lower()}"
                raise UsageError(f"{one} is no code of a site", hint=hint)
            elif one not in grouped:
                found.append(one)
        return found


def is_code(text: str) -> bool:
    """Whether a text is the code of a site."""
    try:
        check_site(text.upper())
    except FormatError:
        return False
    return True


TABLES = (GROUPS, NOTIFY, HOOKS)
KEYS = tuple(one.name for one in fields(Config) if one.name not in TABLES)
"""What can be set, besides what stands in tables."""
NAMES = f"{', '.join(KEYS)}, {GROUPS}.NAME, {NOTIFY}.NAME, {HOOKS}.EVENT"
"""All names, for people."""
_ELSEWHERE = {
    "quota": "courier parcel limits --quota SIZE",
    "parcel_quota": "courier parcel limits --quota SIZE",
    "site_quota": "courier parcel limits --site-quota SIZE",
    "repair_limit": "courier parcel limits --repair SIZE",
    "policies": "courier site policy --help",
    "policy": "courier site policy --help",
    "max_transit_days": "courier site policy --max-transit-days N",
    "outside_links": "courier site policy --outside-links refuse",
    "hole_limit": "courier site policy --hole-limit SIZE",
    "release_lost": "courier site policy --release-lost N",
}
"""Names that one might look for here, and the command that sets them."""
_NUMBERS = {"transit_days": MAX_DAYS, "hook_seconds": MAX_HOOK_SECONDS}
"""Keys that are whole numbers, and the highest of each."""


def load_config(home: Path) -> Config:
    """The configuration in a home; all is unset where there is no file. Raises `UsageError` with the place in it."""
    path = home / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8", hint="write it anew: courier config set --help") from None
    return parse_config(text, where=str(path))


def parse_config(text: str, *, where: str) -> Config:
    """The configuration in a text of TOML; ``where`` begins the messages. Raises `UsageError`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: {error}", hint="correct that line") from None
    known = Config()
    for key, value in values.items():
        if key in TABLES and isinstance(value, dict):
            table = {name: _entry(f"{where}: {key}.{name}", key, name, one) for name, one in value.items()}
            filled: dict[str, Any] = {key: MappingProxyType(table)}
            known = replace(known, **filled)
        elif key in KEYS:
            known = replace(known, **{key: _value(f"{where}: {key}", key, value)})
        else:
            raise _unknown(f"{where}: {key}", key)
    if known.media and known.capacity:
        raise UsageError(f"{where}: media and capacity are both set", hint="courier config unset capacity")
    return known


def change_config(site: Site, key: str, text: str) -> Config:
    """Set one key to what an operator typed, or (empty) take it away; return all.

    Raises `UsageError`, `BusyError`, and `NotFoundError` for a hook whose program is not there.

    ``key`` is one of `KEYS`, or ``TABLE.NAME``: ``groups.NAME`` with the codes of sites between commas, ``notify.NAME``
    with the place of an address, ``hooks.EVENT`` with the command as a shell would take it.
    """
    with site.files_locked():
        config = load_config(site.home)
        table, _, name = key.partition(".")
        if table in TABLES and name:
            entries = {one: kept for one, kept in getattr(config, table).items() if one != name}
            if text:
                entries[name] = _entry(key, table, name, _typed(key, table, text))
                if table == HOOKS and shutil.which(entries[name][0]) is None:
                    raise NotFoundError(
                        f"{key}: there is no program {entries[name][0]!r}",
                        hint="name one that is there and may be run, best by its whole path",
                    )
            changed: dict[str, Any] = {table: MappingProxyType(entries)}
        elif key in KEYS:
            value: object = text
            if key in _NUMBERS:
                value = int(text) if re.fullmatch("[0-9]{1,9}", text) else text or 0
            changed = {key: _value(key, key, value) if text else getattr(Config(), key)}
            if text and (other := {"media": "capacity", "capacity": "media"}.get(key)):
                # A parcel has one of both; what was set last counts.
                changed[other] = ""
        else:
            raise _unknown(key, key)
        config = replace(config, **changed)
        write_atomic(site.home / CONFIG, config_text(config).encode(), private=True)
    return config


def config_text(config: Config) -> str:
    """The file of a configuration; what is not set is not in it."""
    lines = [f"{key} = {_toml(value)}" for key in KEYS if (value := getattr(config, key))]
    for table in TABLES:
        if entries := getattr(config, table):
            lines += ["", f"[{table}]", *(f"{name} = {_toml(value)}" for name, value in sorted(entries.items()))]
    return "\n".join([*lines, ""])


def _toml(value: str | int | tuple[str, ...]) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _unknown(where: str, key: str) -> UsageError:
    if key in _ELSEWHERE:
        return UsageError(f"{where}: that is a setting of the site, and not of this file", hint=_ELSEWHERE[key])
    return UsageError(f"{where}: nothing is called so", hint=f"the keys are {NAMES}")


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",")]


def _value(where: str, key: str, value: object) -> Any:
    """A value that was checked. Raises `UsageError`."""
    if key in _NUMBERS:
        most = _NUMBERS[key]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            what = "days" if key == "transit_days" else "seconds"
            raise UsageError(f"{where}: {value!r} is no number of {what}", hint=f"a whole number, {most:,} at most")
        return value
    text = _line(where, key, value)
    if not text:
        return text
    try:
        if key in ("media", "capacity"):
            medium_capacity(text if key == "media" else None, text if key == "capacity" else None)
        elif key == "redundancy":
            Redundancy.parse(text)
    except CourierError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    if key == "compress" and text not in COMPRESSIONS:
        raise UsageError(f"{where}: there is no method {text!r}", hint=f"give one of {', '.join(COMPRESSIONS)}")
    if key == "notify_events":
        for word in _words(text):
            if word not in EVENTS:
                raise UsageError(f"{where}: there is no event {word!r}", hint=f"events are {', '.join(EVENTS)}")
    return text


def _line(where: str, key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise UsageError(f"{where}: not one line of text", hint=f'write it like {key} = "..."')
    return value


def _typed(key: str, table: str, text: str) -> object:
    """What an operator typed for an entry of a table, as it stands in the file. Raises `UsageError`."""
    if table == GROUPS:
        return [code.strip().upper() for code in text.split(",")]
    if table == NOTIFY:
        return text
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{key}: {error}", hint="quote the words of the command as in a shell") from None


def _entry(where: str, table: str, name: str, value: object) -> Any:
    """An entry of a table that was checked. Raises `UsageError`."""
    if table == HOOKS:
        return _hook(where, name, value)
    if not _NAME.fullmatch(name):
        what = "group" if table == GROUPS else "service"
        raise UsageError(f"{where}: no name of a {what}", hint="lower-case letters, digits, - and _")
    return _group(where, name, value) if table == GROUPS else _place(where, name, value)


def _group(where: str, name: str, codes: object) -> tuple[str, ...]:
    if not isinstance(codes, list) or not codes:
        raise UsageError(f"{where}: not a list of codes of sites", hint=f'write it like {name} = ["BR1", "BR2"]')
    for number, code in enumerate(codes):
        try:
            check_site(code if isinstance(code, str) else "")
        except FormatError as error:
            raise UsageError(f"{where}[{number}]: {error}", hint="a code has three characters of A-Z and 0-9") from None
    return tuple(dict.fromkeys(codes))


def _place(where: str, name: str, value: object) -> str:
    """Where the address of a service is kept: never the address itself, which holds a password."""
    text = value if isinstance(value, str) else ""
    kind, _, rest = text.partition(":")
    hint = (
        f"write the address into a file that only you can read (chmod 600), then: courier config set "
        f"{NOTIFY}.{name} file:/FOLDER/FILE; or name a variable of the environment: env:NAME"
    )
    if kind not in ("file", "env") or not rest or not text.isprintable() or len(text) > _MAX_TEXT:
        # What was given may be a secret, and is not said again.
        raise UsageError(f"{where}: not file:FILE or env:NAME; an address holds a password", hint=hint)
    if kind == "file" and not Path(rest).is_absolute():
        raise UsageError(f"{where}: {rest} is no absolute path", hint=hint)
    if kind == "env" and not _VARIABLE.fullmatch(rest):
        raise UsageError(f"{where}: {rest} is no name of a variable", hint=hint)
    return text


def _hook(where: str, event: str, value: object) -> tuple[str, ...]:
    if event not in EVENTS:
        raise UsageError(f"{where}: there is no event {event!r}", hint=f"events are {', '.join(EVENTS)}")
    if (
        not isinstance(value, list)
        or not 0 < len(value) <= MAX_WORDS
        or not all(isinstance(word, str) and len(word) <= 4096 and word.isprintable() for word in value)
        or not value[0]
    ):
        hint = f'write it like {event} = ["/usr/local/bin/tell", "--desk"]; no shell reads it'
        raise UsageError(f"{where}: not the words of a command", hint=hint)
    return tuple(value)
