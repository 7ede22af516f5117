"""Which context lengths the entropy fit uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laneb.knobs import StatisticsKnobs
from laneb.statistics.entropy import ConditionalEntropies


@dataclass(frozen=True)
class EntropyWindow:
    """The context lengths that the entropy fit uses.

    Attributes:
        top: the longest context length of the window, after `reductions` halvings.
        lengths: those of the window's grid that are well enough sampled.
        skipped: how many of the grid are not.
    """

    top: int
    lengths: tuple[int, ...]
    skipped: int
    reductions: int


def context_grid(shortest: int, longest: int, points: int) -> tuple[int, ...]:
    """Lengths spaced evenly in their logarithm: rounded, each once, both ends included."""
    return tuple(sorted({round(value) for value in np.geomspace(shortest, longest, points).tolist()}))


def candidate_lengths(knobs: StatisticsKnobs, longest: int) -> tuple[int, ...]:
    """Every length that a window's grid can hold, however often its top is halved."""
    found: set[int] = set()
    while longest >= knobs.ent_min_ctx:
        found.update(context_grid(knobs.ent_min_ctx, longest, knobs.ent_num_points))
        longest //= 2
    return tuple(sorted(found))


def entropy_window(measured: ConditionalEntropies, knobs: StatisticsKnobs) -> EntropyWindow:
    """Choose the context lengths to fit: the grid's, less those where nearly every context occurs once.

    While too few remain, the window's top is halved and the grid rebuilt; it stops where the halved window has no
    longer enough lengths, and then keeps what it has.
    """
    share = dict(zip(measured.context_lengths.tolist(), measured.singleton_share.tolist(), strict=True))
    top, reductions = max(share), 0
    while True:
        grid = context_grid(knobs.ent_min_ctx, top, knobs.ent_num_points)
        usable = tuple(length for length in grid if share[length] <= knobs.ent_uniqueness_threshold)
        smaller = top // 2
        shrinkable = smaller - knobs.ent_min_ctx + 1 >= knobs.ent_min_usable_points
        if len(usable) >= knobs.ent_min_usable_points or not shrinkable:
            return EntropyWindow(top, usable, len(grid) - len(usable), reductions)
        top, reductions = smaller, reductions + 1
