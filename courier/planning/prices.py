"""What network and courier cost, by a file of prices (``prices.toml``). Pure: the text of the file is an argument.

currency = "EUR"
shipment = 48.50            # a shipment to one site
gigabyte = 0.02             # a gigabyte (10^9 bytes) over the network

[media]
bd25 = 3.20                 # one medium of that kind

[sites.BR1]                 # what differs for a site
shipment = 120
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from courier.errors import UsageError
from courier.media.kinds import DRIVE, MEDIA, kinds_text

HIGHEST = Decimal(10) ** 9
_CENT = Decimal("0.01")
_GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """The prices of one site's shipments; None or absent where the file does not give one."""

    currency: str
    shipment: Decimal | None = None
    gigabyte: Decimal | None = None
    media: Mapping[str, Decimal] = field(default_factory=dict)
    sites: Mapping[str, tuple[Decimal | None, Decimal | None]] = field(default_factory=dict)

    def network(self, code: str, size: int) -> Decimal | None:
        """The price of ``size`` bytes over the network to a site; None where it is not given."""
        each = self._of(code)[1]
        return None if each is None else (each * size / _GIGABYTE).quantize(_CENT)

    def courier(self, code: str, kind: str, media: int) -> Decimal | None:
        """The price of a shipment of so many media of a kind; None where a part of it is not given."""
        shipment, medium = self._of(code)[0], self.media.get(kind)
        return None if shipment is None or medium is None else (shipment + medium * media).quantize(_CENT)

    def _of(self, code: str) -> tuple[Decimal | None, Decimal | None]:
        shipment, gigabyte = self.sites.get(code, (None, None))
        return (
            self.shipment if shipment is None else shipment,
            self.gigabyte if gigabyte is None else gigabyte,
        )


def parse_prices(text: str, *, name: str) -> Prices:
    """The prices in the text of a TOML file; ``name`` is the file's, for messages. Raises `UsageError`."""
    try:
        found = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, and brackets in brackets, as well
        raise UsageError(f"{name}: {error}", hint="it is written in TOML: see docs/planning.md") from None
    _check_keys(found, {"currency", "shipment", "gigabyte", "media", "sites"}, name)
    currency = found.get("currency")
    if not isinstance(currency, str) or not 0 < len(currency) <= 10:
        raise UsageError(f"{name}: it names no currency", hint='currency = "EUR"')
    media = _table(found, "media", name)
    _check_keys(media, {*MEDIA, DRIVE}, f"{name}: media", hint=f"the kinds are {kinds_text()} and {DRIVE}")
    sites = {}
    for code, one in _table(found, "sites", name).items():
        if not isinstance(one, dict):
            raise UsageError(f"{name}: sites.{code} is no table", hint=f"[sites.{code}]")
        _check_keys(one, {"shipment", "gigabyte"}, f"{name}: sites.{code}")
        sites[code] = (
            _price(one, "shipment", f"{name}: sites.{code}"),
            _price(one, "gigabyte", f"{name}: sites.{code}"),
        )
    return Prices(
        currency=currency,
        shipment=_price(found, "shipment", name),
        gigabyte=_price(found, "gigabyte", name),
        media={kind: price for kind in media if (price := _price(media, kind, f"{name}: media")) is not None},
        sites=sites,
    )


def _table(found: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    table = found.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{name}: {key} is no table", hint=f"[{key}]")
    return table


def _check_keys(found: Mapping[str, Any], known: set[str], where: str, *, hint: str = "") -> None:
    """Refuse a key that is not known: a price under a misspelt name would be left out without a word."""
    unknown = sorted(found.keys() - known)
    if unknown:
        raise UsageError(
            f"{where}: nothing is called {unknown[0]!r}", hint=hint or f"it has {', '.join(sorted(known))}"
        )


def _price(found: Mapping[str, Any], key: str, where: str) -> Decimal | None:
    if key not in found:
        return None
    value = found[key]
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite()
    if not is_number or not 0 <= value <= HIGHEST:
        raise UsageError(f"{where}: {key} is no price", hint="a price is a number of 0 or more, such as 48.50")
    return Decimal(value)
