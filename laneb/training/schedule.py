"""What changes over a run: the learning rate, Muon's momentum and decay, and when the run is evaluated.

Steps count from 0; a run of N steps makes N updates, and step N is the finished run.
"""

from __future__ import annotations

from typing import NamedTuple

from laneb.model.recipes.recipe import Recipe


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
    early = (step for step in range(0, steps, every) if 3 * step <= 2 * steps)
    late = (step for step in range(0, steps, every_late) if 3 * step > 2 * steps)
    return (*early, *late, steps)
