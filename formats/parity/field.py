"""The field GF(2^8) of the parity code: arithmetic, the points of columns, and the factors that give columns back.

Elements are integers below 256 whose bits are the coefficients of a polynomial; products are taken modulo
x^8 + x^4 + x^3 + x^2 + 1. docs/parity.md specifies the code: a stripe is good when, for every exponent i of
`exponents`, the sum of ``point(c) ** i`` times the symbol of column c is zero.
"""

from __future__ import annotations

from functools import lru_cache

POLYNOMIAL = 0x11D
ORDER = 255
"""Number of elements that are not zero, which are the powers of 2; so many columns a group can have."""
THIRD = ORDER // 3
"""2 to this power is a cube root of one."""

_POWERS = [1]
while len(_POWERS) < ORDER:
    _POWERS.append(_POWERS[-1] << 1 ^ POLYNOMIAL * (_POWERS[-1] >> 7))
_LOGARITHMS = {element: log for log, element in enumerate(_POWERS)}


def power(exponent: int) -> int:
    """2 to the power of ``exponent``, any integer."""
    return _POWERS[exponent % ORDER]


def multiply(a: int, b: int) -> int:
    """The product of two elements."""
    return power(_LOGARITHMS[a] + _LOGARITHMS[b]) if a and b else 0


def log_point(column: int) -> int:
    """The exponent of the power of 2 that is the point of ``column`` (0 to 254).

    The points of three successive columns differ by cube roots of one.
    """
    return column // 3 + THIRD * (column % 3)


def exponents(checks: int) -> range:
    """The exponents of ``checks`` checks: those nearest to zero."""
    lowest = -((checks - 1) // 2)
    return range(lowest, lowest + checks)


@lru_cache(maxsize=64)
def solution(lost: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """For each ``wanted`` one of the ``lost`` columns, the factors by which the sums of the checks give it back.

    S_i is the sum of check i over the columns that are not lost, for i in ``exponents(len(lost))``. A column is the sum
    of its factors times S_i. The factors are the inverse of the matrix of ``point(c) ** i``, by Lagrange's polynomials.
    """
    points = {column: power(log_point(column)) for column in lost}
    whole = [1]  # the product of (x - point), lowest coefficient first
    for point in points.values():
        shifted = [0, *whole]
        whole = [upper ^ multiply(point, lower) for upper, lower in zip(shifted, [*whole, 0], strict=True)]
    rows = []
    lowest = exponents(len(lost))[0]
    for column in wanted:
        point, quotient, carry = points[column], [0] * len(lost), 0
        for at in range(len(lost) - 1, -1, -1):
            carry = whole[at + 1] ^ multiply(point, carry)
            quotient[at] = carry
        value = 0
        for coefficient in reversed(quotient):
            value = multiply(value, point) ^ coefficient
        scale = power(-_LOGARITHMS[value] - log_point(column) * lowest)
        rows.append(tuple(multiply(scale, coefficient) for coefficient in quotient))
    return tuple(rows)


@lru_cache(maxsize=ORDER)
def bit_rows(factor: int) -> tuple[int, ...]:
    """For each bit of a product by ``factor``, lowest first: a mask of the bits of the other factor that it sums."""
    columns = [multiply(factor, 1 << bit) for bit in range(8)]
    return tuple(sum((column >> bit & 1) << at for at, column in enumerate(columns)) for bit in range(8))
