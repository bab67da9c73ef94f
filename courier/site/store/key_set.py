"""Very many keys of one length in little memory: a Python set takes some 140 bytes for each SHA-256, this some 45."""

from __future__ import annotations

from array import array

_FEW = 1 << 15
"""So many keys are kept in a dictionary too, some 4 MB, which is several times as fast."""
_SLOTS, _MANY_SLOTS = 1 << 16, 1 << 20
_AT_ONCE = 1 << 10
"""Keys that are spread together."""
_FULL = 2, 3
"""The part of the slots that may be taken."""


class KeySet:
    """A set of keys of ``width`` bytes, each of which can be had by its number: they are counted from 0 as they come.

    Open addressing: a slot has the number of its key and one more, 0 where it is free. The hash of bytes differs from
    process to process, so that nobody can choose keys that collide.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._keys = bytearray()
        self._count = 0
        self._few: dict[bytes, int] | None = {}
        self._slots = _free(0)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> bytes:
        """The key of a number below the length."""
        return bytes(self._keys[number * self._width : (number + 1) * self._width])

    def __contains__(self, key: bytes) -> bool:
        return self.find(key) >= 0

    def find(self, key: bytes) -> int:
        """The number of a key; -1 where it is not there."""
        if self._few is not None:
            return self._few.get(key, -1)
        return self._slots[self._slot(key)] - 1

    def add(self, key: bytes) -> bool:
        """Take a key; say whether it is new."""
        few = self._few
        if few is not None:
            if key in few:
                return False
            if len(key) != self._width:
                raise ValueError(f"a key of {len(key)} bytes among those of {self._width}")
            few[key] = self._count
            self._keys += key
            self._count += 1
            if self._count == _FEW:
                self._few = None
                self._spread()
            return True
        slot = self._slot(key)
        if self._slots[slot]:
            return False
        if len(key) != self._width:
            raise ValueError(f"a key of {len(key)} bytes among those of {self._width}")
        self._keys += key
        self._count += 1
        self._slots[slot] = self._count
        if self._count * _FULL[1] > len(self._slots) * _FULL[0]:
            self._spread()
        return True

    def _slot(self, key: bytes) -> int:
        """The slot of a key, or the free one where it would go."""
        slots, keys, width = self._slots, self._keys, self._width
        last = len(slots) - 1
        slot = hash(key) & last
        while taken := slots[slot]:
            at = taken * width
            if keys[at - width : at] == key:
                return slot
            slot = slot + 1 & last
        return slot

    def _spread(self) -> None:
        """Put the keys into more slots: four times as many as long as these are few."""
        slots = self._slots = _free(max(_SLOTS, len(self._slots) * (4 if len(self._slots) < _MANY_SLOTS else 2)))
        last, width = len(slots) - 1, self._width
        number = 0
        while number < self._count:
            keys = bytes(self._keys[number * width : (number + _AT_ONCE) * width])
            for at in range(0, len(keys), width):
                number += 1
                slot = hash(keys[at : at + width]) & last
                while slots[slot]:
                    slot = slot + 1 & last
                slots[slot] = number


def _free(count: int) -> array[int]:
    """As many free slots."""
    return array("I", bytes(4 * count))
