"""What is made anew whenever it is gone through, because all of it together would take too much memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

T = TypeVar("T")


class MadeAnew(Collection[T]):
    """``count`` things, the same ones each time, from a new iterator that ``make`` gives."""

    def __init__(self, make: Callable[[], Iterator[T]], count: int) -> None:
        self._make = make
        self._count = count

    def __iter__(self) -> Iterator[T]:
        return self._make()

    def forget(self) -> None:
        """Give up what they are made of: they are not gone through any more."""

        def gone() -> Iterator[T]:
            raise ValueError("what was forgotten is not made anew")

        self._make = gone

    def __len__(self) -> int:
        return self._count

    def __contains__(self, thing: object) -> bool:
        return any(one == thing for one in self)
