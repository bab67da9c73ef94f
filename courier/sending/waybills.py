"""Waybills: which volumes travel together, and whether all volumes of one waybill may be lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from courier.errors import UsageError
from courier.parcel.parity_plan import check_waybill
from courier.sending.outgoing_parcel import OutgoingParcel


def check_waybills(parcel: OutgoingParcel, waybills: Sequence[str], *, survive: bool) -> list[list[int]]:
    """The volumes of each waybill, written like ``1-5,9``; if none is given, all volumes travel on one.

    ``survive``: raise `RefusedError` if parity could not make up for the loss of a whole waybill. Raises `UsageError`
    unless every volume travels on exactly one waybill.
    """
    everything = range(1, parcel.packing.volumes + 1)
    carried = [_waybill(text, parcel.packing.volumes) for text in waybills] or [list(everything)]
    count = Counter(number for waybill in carried for number in waybill)
    odd = [number for number in everything if count[number] != 1]
    if odd:
        how = "on no" if count[odd[0]] == 0 else "on more than one"
        raise UsageError(
            f"volume {odd[0]} is {how} waybill", hint="name every volume once: --waybill 1-5 --waybill 6-10"
        )
    if survive:
        for waybill in carried:
            check_waybill(parcel.packing.groups, waybill)
    return carried


def _waybill(text: str, volumes: int) -> list[int]:
    numbers: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,6})(?:-([0-9]{1,6}))?\s*", item)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= volumes:
            raise UsageError(
                f"--waybill {text!r}: the parcel has volumes 1 to {volumes}", hint="write it like 1-5 or 1-5,9"
            )
        numbers += range(first, last + 1)
    return numbers
