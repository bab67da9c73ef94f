"""Bech32 (BIP 173), in which age writes recipients and identities: without its 90-character limit, as age does."""

from __future__ import annotations

from formats.errors import Malformed

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _regroup(data: list[int], size: int, to: int, *, pad: bool) -> list[int]:
    """Regroup ``size``-bit values into ``to``-bit ones; raises `Malformed` for padding that is not zero."""
    held = bits = 0
    result = []
    for value in data:
        held = held << size | value
        bits += size
        while bits >= to:
            bits -= to
            result.append(held >> bits & (1 << to) - 1)
        held &= (1 << bits) - 1
    if pad:
        if bits:
            result.append(held << to - bits)
    elif bits >= size or held:
        raise Malformed("Bech32 text has padding that is not zero")
    return result


def encode(prefix: str, data: bytes) -> str:
    """``data`` under the lower-case ``prefix``."""
    values = _regroup(list(data), 8, 5, pad=True)
    check = _polymod([*_expand(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [check >> 5 * (5 - n) & 31 for n in range(6)]
    return f"{prefix}1{''.join(_CHARACTERS[value] for value in values)}"


def decode(text: str) -> tuple[str, bytes]:
    """(lower-case prefix, data) of a Bech32 text; raises `Malformed`, and never repeats the text, which may be secret."""
    if text not in (text.lower(), text.upper()) or not text.isascii():
        raise Malformed("Bech32 text mixes upper and lower case")
    prefix, one, rest = text.lower().rpartition("1")
    if not one or not prefix or len(rest) < 6 or any(c not in _CHARACTERS for c in rest):
        raise Malformed("not a Bech32 text")
    if any(not "!" <= c <= "~" for c in prefix):
        raise Malformed("not a Bech32 text")
    values = [_CHARACTERS.index(c) for c in rest]
    if _polymod([*_expand(prefix), *values]) != 1:
        raise Malformed("Bech32 text has a wrong check sum: a character was mistyped")
    return prefix, bytes(_regroup(values[:-6], 5, 8, pad=False))
