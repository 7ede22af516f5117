"""Looking again with more seeds: one level of false verdicts, spent over all looks at a question.

Lan and DeMets (1983): a function of the information says how much of the level may be spent by now, here
`level * (1 - 2 ** (1 - pairs))`, whatever the number of looks and whenever they are; each look's critical value follows
from what is spent since the last. It needs no number of looks that is fixed beforehand, and always leaves something.
docs/method.md says why this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from laneb.records.candidates import Mode
from laneb.records.verdict import Look

LEVEL = 0.05
"""Probability that a mode without a gain is ever accepted, over all looks; of one without a loss, ever rejected."""

DRAWS = 2**18
SMALLEST_SIMULATED = 100 / DRAWS
"""Below, the simulated tail is too coarse, and the increment is taken as it is: more cautious."""


def looks_before(
    looks: Sequence[Look], *, mode: Mode, question: str, threshold: float, runs: Sequence[str]
) -> tuple[Look, ...]:
    """The looks at a question that came before a look at these runs, which may have been taken already."""
    of_question = [look for look in looks if look.mode == mode and look.question == question]
    same = [at for at, look in enumerate(of_question) if look.threshold == threshold and look.runs == tuple(runs)]
    return tuple(of_question[: same[0]] if same else of_question)


def spent_before(before: Sequence[Look]) -> float:
    """Of the level, what the looks so far have spent."""
    return max((look.spent for look in before), default=0.0)


def spent_at(pairs: int, before: Sequence[Look]) -> float:
    """Of the level, what is spent when `pairs` pairs are looked at after the looks before.

    >>> [round(spent_at(pairs, ()), 4) for pairs in (2, 3, 4, 12)]
    [0.025, 0.0375, 0.0438, 0.05]

    Another look with no more pairs (a moved threshold, another ratio) takes half of what is left.
    """
    again = (LEVEL + spent_before(before)) / 2 if before else 0.0
    return max(LEVEL * (1 - 2.0 ** (1 - pairs)), again)


def critical_at(pairs: int, before: Sequence[Look], *, threshold: float = math.nan, runs: Sequence[str] = ()) -> float:
    """What a one-sided t of `pairs` pairs has to exceed, so that the level spent by now is kept.

    Args:
        pairs: two at least.
        before: the looks so far.
        threshold, runs: of this look: earlier looks at the same threshold whose runs are among these are the beginning
            of the same sequence, and what they have in common with it is not paid for twice.

    >>> round(critical_at(3, ()), 2)
    3.44
    """
    increment = spent_at(pairs, before) - spent_before(before)
    nested = tuple(
        (look.pairs, look.critical)
        for look in before
        if look.critical is not None and look.threshold == threshold and set(look.runs) < set(runs)
    )
    return _critical(nested, pairs, increment)


def bonferroni_critical(pairs: int, before: Sequence[Look], share: float) -> float:
    """As `critical_at` for a share of the level, without what earlier looks have in common with this one: larger."""
    from scipy.stats import t as student

    return float(student.isf(share * (spent_at(pairs, before) - spent_before(before)), pairs - 1))


@lru_cache(maxsize=4096)
def _critical(earlier: tuple[tuple[int, float], ...], pairs: int, increment: float) -> float:
    """The value that t exceeds with probability `increment`, having exceeded none of the earlier ones.

    From simulated differences without a gain, whose t statistics at growing numbers of pairs belong together as those
    of the looks do, and do not depend on the spread. Without earlier looks of one sequence the increment alone counts,
    which no dependence can break.
    """
    from scipy.stats import t as student

    counts = [count for count, _ in earlier]
    growing = counts == sorted(set(counts)) and all(1 < count < pairs for count in counts)
    if not earlier or not growing or increment < SMALLEST_SIMULATED:
        return float(student.isf(increment, pairs - 1))
    draw = np.random.default_rng(0)
    sums, squares, count = np.zeros(DRAWS), np.zeros(DRAWS), 0
    alive = np.ones(DRAWS, dtype=bool)
    for until, critical in (*earlier, (pairs, None)):
        more = until - count
        mean = draw.standard_normal(DRAWS) / np.sqrt(more)
        sums += more * mean
        squares += more * mean**2 + (draw.chisquare(more - 1, DRAWS) if more > 1 else 0.0)
        count = until
        t = sums / np.sqrt(np.maximum(squares - sums**2 / count, 1e-300) * count / (count - 1))
        if critical is None:
            break
        alive &= t <= critical
    tail = round(increment * DRAWS)
    return float(np.partition(t[alive], -tail)[-tail])
