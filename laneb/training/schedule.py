"""What changes over a run: the learning rate, Muon's momentum and decay, and when the run is evaluated.

Steps count from 0; a run of N steps makes N updates, and step N is the finished run.
"""

from __future__ import annotations

from typing import NamedTuple

from laneb.knobs import LONGEST_HORIZON
from laneb.model.recipes.recipe import Recipe

MOST_EVALUATIONS = 100_000
"""Of one run: each is a point of its curve, which its result holds and every page draws."""


class Schedule(NamedTuple):
    """A linear warmup, a constant rate, and a linear warmdown that ends at the horizon; the rest is the recipe's.

    Attributes:
        steps: the horizon.
        warmup_steps: goes before the warmdown where they meet.
        warmdown_steps: up to the horizon.
        final_lr_share: the rate at the horizon, as a share of the peak.
        recipe: says how Muon's momentum and decay change.
    """

    steps: int
    warmup_steps: int
    warmdown_steps: int
    final_lr_share: float
    recipe: Recipe

    def learning_rate(self, step: int) -> float:
        """Multiplier of every learning rate in update `step` (0 to steps - 1)."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if step <= self.steps - self.warmdown_steps:
            return 1.0
        left = (self.steps - step) / self.warmdown_steps
        return left + (1.0 - left) * self.final_lr_share

    def weight_decay(self, step: int) -> float:
        """Multiplier of Muon's weight decay in update `step`."""
        return self.recipe.decay(step, self.steps)

    def momentum(self, step: int) -> float:
        """Muon's momentum in update `step`."""
        return self.recipe.momentum(step, self.steps, self.warmdown_steps)


def evaluation_steps(steps: int, every: int, every_late: int) -> tuple[int, ...]:
    """Steps at which a run is evaluated, in order.

    Step 0, multiples of `every` up to two thirds of the horizon, multiples of `every_late` beyond, and the horizon:
    the threshold is crossed late, and the crossing is only as fine as the grid there.
    """
    early, late = _grids(steps, every, every_late)
    return (*early, *late, steps)


def evaluation_count(steps: int, every: int, every_late: int) -> int:
    """How many `evaluation_steps` there are, at once for any horizon."""
    return sum(map(len, _grids(steps, every, every_late))) + 1


def check_horizon(steps: int, every: int, every_late: int) -> None:
    """Raise a ValueError for a horizon of no step, or one that no run could be trained or evaluated at."""
    if steps < 1:
        raise ValueError(f"horizon of {steps} steps: a run needs at least one step")
    if steps > LONGEST_HORIZON:
        raise ValueError(f"horizon of {steps:.6g} steps: {LONGEST_HORIZON:,} at most. Lower the ratio or the steps")
    evaluations = evaluation_count(steps, every, every_late)
    if evaluations > MOST_EVALUATIONS:
        raise ValueError(
            f"{evaluations:,} evaluations in a run of {steps:,} steps, every {every:,} and late every {every_late:,} "
            f"steps: {MOST_EVALUATIONS:,} at most. Raise LANE_B_EVAL_EVERY (and LANE_B_EVAL_EVERY_LATE)"
        )


def _grids(steps: int, every: int, every_late: int) -> tuple[range, range]:
    """The evaluations up to two thirds of the horizon, and those beyond it before its end."""
    two_thirds = 2 * steps // 3
    return range(0, two_thirds + 1, every), range((two_thirds // every_late + 1) * every_late, steps, every_late)
