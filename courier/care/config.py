"""``config.toml`` in a site's home: what the operators of a site would else give as options each time.

Options win over it. Policies, quotas and limits are no options: those are settings (`courier site policy`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from courier.errors import CourierError, NotFoundError, UsageError
from courier.files import write_atomic
from courier.media.kinds import medium_capacity
from courier.parcel.parity_plan import Redundancy
from courier.site.file_names import CONFIG
from courier.site.home import home_lock
from formats.codecs import COMPRESSIONS
from formats.errors import FormatError
from formats.names import check_site

GROUPS = "groups"
MAX_DAYS = 3650
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a site's operators have set; empty or 0: not set.

    ``media`` or ``capacity``: of parcels that are created, and ``redundancy`` and ``compress`` of them. ``carrier``: of
    parcels that are shipped. ``transit_days``: how long a parcel may be under way, and how long plans reckon that it
    is. ``groups``: codes of sites by the name of the group, which ``--to @NAME`` stands for.
    """

    media: str = ""
    capacity: str = ""
    redundancy: str = ""
    compress: str = ""
    carrier: str = ""
    transit_days: int = 0
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

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
            elif one not in grouped:
                found.append(one)
        return found


KEYS = tuple(one.name for one in fields(Config) if one.name != GROUPS)
"""What can be set, besides groups."""


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
        if key == GROUPS and isinstance(value, dict):
            groups = {name: _group(f"{where}: {GROUPS}.{name}", name, codes) for name, codes in value.items()}
            known = replace(known, groups=MappingProxyType(groups))
        elif key in KEYS:
            known = replace(known, **{key: _value(f"{where}: {key}", key, value)})
        else:
            hint = f"the keys are {', '.join(KEYS)}, {GROUPS}.NAME"
            raise UsageError(f"{where}: {key}: nothing is called so", hint=hint)
    if known.media and known.capacity:
        raise UsageError(f"{where}: media and capacity are both set", hint="courier config unset capacity")
    return known


def change_config(home: Path, key: str, text: str) -> Config:
    """Set one key to what an operator typed, or (empty) take it away; return all. Raises `UsageError`, `BusyError`.

    ``key`` is one of `KEYS`, or ``groups.NAME`` with the codes of sites between commas.
    """
    with home_lock(home):
        config = load_config(home)
        group, _, name = key.partition(".")
        if group == GROUPS and name:
            groups = {one: codes for one, codes in config.groups.items() if one != name}
            if text:
                codes = [code.strip().upper() for code in text.split(",")]
                groups[name] = _group(key, name, codes)
            config = replace(config, groups=MappingProxyType(groups))
        elif key in KEYS:
            value: object = text
            if key == "transit_days":
                value = int(text) if re.fullmatch("[0-9]{1,9}", text) else text or 0
            changed: dict[str, Any] = {key: _value(key, key, value) if text else getattr(Config(), key)}
            if text and (other := {"media": "capacity", "capacity": "media"}.get(key)):
                # A parcel has one of both; what was set last counts.
                changed[other] = ""
            config = replace(config, **changed)
        else:
            raise UsageError(f"{key}: nothing is called so", hint=f"the keys are {', '.join(KEYS)}, {GROUPS}.NAME")
        write_atomic(home / CONFIG, config_text(config).encode(), private=True)
    return config


def config_text(config: Config) -> str:
    """The file of a configuration; what is not set is not in it."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key in KEYS if (value := getattr(config, key))]
    if config.groups:
        lines += ["", f"[{GROUPS}]"]
        lines += [f"{name} = {json.dumps(list(codes))}" for name, codes in sorted(config.groups.items())]
    return "\n".join([*lines, ""])


def _value(where: str, key: str, value: object) -> Any:
    """A value that was checked. Raises `UsageError`."""
    if key == "transit_days":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_DAYS:
            raise UsageError(f"{where}: {value!r} is no number of days", hint=f"a whole number, {MAX_DAYS:,} at most")
        return value
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise UsageError(f"{where}: not one line of text", hint=f'write it like {key} = "..."')
    if not value:
        return value
    try:
        if key in ("media", "capacity"):
            medium_capacity(value if key == "media" else None, value if key == "capacity" else None)
        elif key == "redundancy":
            Redundancy.parse(value)
    except CourierError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    if key == "compress" and value not in COMPRESSIONS:
        raise UsageError(f"{where}: there is no method {value!r}", hint=f"give one of {', '.join(COMPRESSIONS)}")
    return value


def _group(where: str, name: str, codes: object) -> tuple[str, ...]:
    if not _GROUP.fullmatch(name):
        raise UsageError(f"{where}: no name of a group", hint="lower-case letters, digits, - and _")
    if not isinstance(codes, list) or not codes:
        raise UsageError(f"{where}: not a list of codes of sites", hint=f'write it like {name} = ["BR1", "BR2"]')
    for number, code in enumerate(codes):
        try:
            check_site(code if isinstance(code, str) else "")
        except FormatError as error:
            raise UsageError(f"{where}[{number}]: {error}", hint="a code has three characters of A-Z and 0-9") from None
    return tuple(dict.fromkeys(codes))
