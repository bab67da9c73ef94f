"""Bech32 (BIP 173), the text form of age recipients and identities: at most 90 characters, all of one case."""

from __future__ import annotations

from formats.errors import MalformedError

MAX_LENGTH = 90
"""Characters in the longest string; up to this length the checksum finds any four wrong characters (BIP 173)."""

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _fives(data: bytes) -> list[int]:
    """The bits of ``data`` in groups of five, the last group filled up with zeros."""
    groups = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << groups * 5 - len(data) * 8
    return [number >> 5 * n & 31 for n in reversed(range(groups))]


def _eights(values: list[int]) -> bytes:
    size, rest = divmod(len(values) * 5, 8)
    number = 0
    for value in values:
        number = number << 5 | value
    if rest > 4 or number & (1 << rest) - 1:
        raise MalformedError("Bech32 with padding that is not needed, or not zero")
    return (number >> rest).to_bytes(size, "big")


def encode(prefix: str, data: bytes) -> str:
    """The Bech32 string of ``data`` with a lower-case ``prefix``, in lower case; ``.upper()`` of it means the same."""
    values = _fives(data)
    checksum = _polymod(_expand(prefix) + values + [0] * 6) ^ 1
    values += [checksum >> 5 * n & 31 for n in reversed(range(6))]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def decode(text: str) -> tuple[str, bytes]:
    """The prefix, in the case it is written in, and the data; raises `MalformedError`, which never quotes the text."""
    if len(text) > MAX_LENGTH:
        raise MalformedError(f"longer than the {MAX_LENGTH} characters of Bech32")
    if not all("!" <= c <= "~" for c in text):
        raise MalformedError("holds a character that Bech32 does not have")
    if text not in (text.lower(), text.upper()):
        raise MalformedError("Bech32 in mixed case")
    prefix, separator, rest = text.rpartition("1")
    values = [_VALUES.get(c, -1) for c in rest.lower()]
    if not separator or not prefix or len(rest) < 6 or -1 in values:
        raise MalformedError("not Bech32")
    if _polymod(_expand(prefix.lower()) + values) != 1:
        raise MalformedError("a character is wrong: the checksum of Bech32 does not fit")
    return prefix, _eights(values[:-6])
