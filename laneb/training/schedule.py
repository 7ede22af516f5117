"""What changes over a run: the learning rate, Muon's momentum and decay, and when the run is evaluated.

Steps count from 0; a run of N steps makes N updates, and step N is the finished run.
"""

from __future__ import annotations

from typing import NamedTuple

MUON_MOMENTUM_START = 0.85
MUON_MOMENTUM = 0.95
MUON_MOMENTUM_STEPS = 300
"""Muon's momentum rises linearly over the first steps, as nanochat's does, whatever the horizon."""


class Schedule(NamedTuple):
    """Constant rate, after an optional warmup, then a linear warmdown that ends at the horizon.

    Attributes:
        steps: the horizon.
        warmup_ratio, warmdown_ratio: shares of the horizon.
        final_lr_share: the rate at the horizon, as a share of the peak.
    """

    steps: int
    warmup_ratio: float
    warmdown_ratio: float
    final_lr_share: float

    def learning_rate(self, step: int) -> float:
        """Multiplier of every learning rate in update `step` (0 to steps - 1)."""
        warmup = round(self.warmup_ratio * self.steps)
        warmdown = round(self.warmdown_ratio * self.steps)
        if step < warmup:
            return (step + 1) / warmup
        if step <= self.steps - warmdown:
            return 1.0
        left = (self.steps - step) / warmdown
        return left + (1.0 - left) * self.final_lr_share

    def weight_decay(self, step: int) -> float:
        """Multiplier of Muon's weight decay in update `step`: 1 falling linearly to 0 at the horizon."""
        return 1.0 - step / self.steps


def muon_momentum(step: int) -> float:
    """Muon's momentum in update `step`."""
    share = min(step / MUON_MOMENTUM_STEPS, 1.0)
    return (1.0 - share) * MUON_MOMENTUM_START + share * MUON_MOMENTUM


def evaluation_steps(steps: int, every: int, every_late: int) -> tuple[int, ...]:
    """Steps at which a run is evaluated, in order.

    Step 0, multiples of `every` up to two thirds of the horizon, multiples of `every_late` beyond, and the horizon:
    the threshold is crossed late, and the crossing is only as fine as the grid there.
    """
    early = (step for step in range(0, steps, every) if 3 * step <= 2 * steps)
    late = (step for step in range(0, steps, every_late) if 3 * step > 2 * steps)
    return (*early, *late, steps)
