"""Taking a stream in groups of a bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def grouped(items: Iterable[Item], size_of: Callable[[Item], int], size: int) -> Iterator[list[Item]]:
    """Lists of consecutive items, each ended by the item that brings it to `size` or by the last one."""
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += size_of(item)
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group
