"""A lane's design: which runs it trains, and what is assumed of their losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from laneb.knobs import CandidateKnobs
from laneb.plan import planned_runs
from laneb.training.schedule import evaluation_steps
from laneb.training.surface import Surface, read_surface

if TYPE_CHECKING:
    from laneb.plan import Sections

WARMDOWNS = 60
"""Warmdown gains that are tried for the least gain beyond the grid, a sixth apart."""
CONFIRMATION_FACTOR = 1.05
"""What the confirmation trains beyond the inferred ratio."""


@dataclass(frozen=True)
class Design:
    """Seeds, horizons [steps] and grid of a lane, and the truth that it would meet.

    Attributes:
        surface: the truth; see `laneb.training.surface`.
        tokens_per_step, n_scaling_params: turn steps into tokens, and tokens into ratios.
        baseline_steps: horizon of the baselines [steps].
        baseline_seeds, run_seeds: how many seeds baselines and candidates have; the same ones, as far as both go.
        calibration_steps: horizons of the calibration runs [steps].
        calibration_seeds: how many of the seeds they have.
        threshold_offset: added to the baselines' median [bpb].
        min_success: good baselines needed.
        eval_every, eval_every_late: steps between evaluations, in the first two thirds and the last.
        warmdown_ratio: share of a run that warms down.
        knobs: how the verdict is reached.

    >>> design = Design(Surface(), tokens_per_step=128, n_scaling_params=22560, baseline_steps=400)
    >>> round(design.true_steps()), round(design.with_gain(0.05).true_gain(), 3)
    (305, 0.05)
    """

    surface: Surface
    tokens_per_step: int
    n_scaling_params: int
    baseline_steps: int
    baseline_seeds: int = 3
    run_seeds: int = 3
    calibration_steps: tuple[int, ...] = ()
    calibration_seeds: int = 2
    threshold_offset: float = 0.02
    eval_every: int = 100
    eval_every_late: int = 25
    warmdown_ratio: float = 0.5
    knobs: CandidateKnobs = field(default_factory=CandidateKnobs)

    @classmethod
    def of(cls, settings: Sections, surface: Surface | None = None) -> Design:
        """The design of an experiment's settings; without a surface, on that of the settings, else the default one.

        Raises:
            ValueError: settings that no run can be made of, or a surface's file that can't be used.
        """
        runs = planned_runs(settings)
        spec = runs[0].spec
        baseline = next((run.spec.steps for run in runs if run.role == "baseline"), max(run.spec.steps for run in runs))
        return cls(
            surface=surface or read_surface(settings.training.simulated_surface),
            tokens_per_step=spec.total_batch_size,
            n_scaling_params=spec.n_scaling_params,
            baseline_steps=baseline,
            baseline_seeds=len(settings.baseline.seeds),
            run_seeds=len(settings.candidates.run_seeds),
            calibration_steps=settings.calibration.iterations,
            calibration_seeds=len(settings.calibration.all_seeds),
            threshold_offset=settings.threshold.threshold_offset,
            eval_every=spec.eval_every,
            eval_every_late=spec.eval_every_late,
            warmdown_ratio=spec.warmdown_ratio,
            knobs=settings.candidates,
        )

    def with_seeds(self, seeds: int) -> Design:
        """The same with so many seeds of baselines and candidates."""
        return replace(self, baseline_seeds=seeds, run_seeds=seeds)

    def ratio(self, steps: float) -> float:
        """Training tokens per scaling parameter of a horizon."""
        return steps * self.tokens_per_step / self.n_scaling_params

    def bpb(self, step: float, steps: int) -> float:
        """Loss of the mean seed's run of a horizon at a step [bpb], without noise."""
        above = self.surface.excess(step, steps, self.warmdown_ratio)
        return self.surface.loss(self.ratio(max(step, 1))) + above

    def true_steps(self) -> float | None:
        """Horizon at which the mean seed's finished run is at the threshold; None where none is."""
        ratio = self.surface.ratio(self.threshold)
        return None if ratio is None else ratio * self.n_scaling_params / self.tokens_per_step

    @property
    def threshold(self) -> float:
        """What the mean seed's baseline ends at, and the offset [bpb]."""
        return self.surface.loss(self.ratio(self.baseline_steps)) + self.threshold_offset

    def true_gain(self, factor: float = CONFIRMATION_FACTOR) -> float:
        """What the mean seed wins at `factor` times the true ratio, as a share of the baseline's time to target.

        A run that ends above the threshold counts with the horizon at which it would not.
        """
        threshold = self.threshold
        needed = self.true_steps() or float(self.baseline_steps)
        steps = max(1, int(needed * factor))
        candidate = needed if self.bpb(steps, steps) > threshold else self.crossing(steps, threshold)
        return 1 - candidate / self.crossing(self.baseline_steps, threshold)

    def gain_steps(self, factor: float = CONFIRMATION_FACTOR) -> float:
        """The true gain in steps of the baseline."""
        return self.true_gain(factor) * self.crossing(self.baseline_steps, self.threshold)

    def effect(self, factor: float = CONFIRMATION_FACTOR) -> float:
        """The true gain in standard deviations of a paired difference.

        To first order: a run's crossing moves by its loss's deviation over the slope there. The noises of the two runs
        are independent; the seed's effect is the same in both, and cancels as far as the slopes are equal.
        """
        threshold = self.threshold
        needed = self.true_steps() or float(self.baseline_steps)
        steps = max(1, int(needed * factor))
        at = self.crossing(self.baseline_steps, threshold)
        baseline = self._slope(at, self.baseline_steps)
        candidate = self._slope(at * (1 - self.true_gain(factor)), steps)
        noise = self.surface.noise_sd * math.hypot(1 / baseline, 1 / candidate)
        sd = math.hypot(noise, self.surface.seed_sd * (1 / baseline - 1 / candidate))
        return self.true_gain(factor) * at / sd if sd > 0 else math.inf

    def grid_steps(self, factor: float = CONFIRMATION_FACTOR) -> tuple[int, int]:
        """Steps between the two evaluations around the mean seed's crossing: the baseline's, the candidate's.

        The verdict accepts no gain within the wider one.
        """
        threshold = self.threshold
        steps = max(1, int((self.true_steps() or float(self.baseline_steps)) * factor))
        at = self.crossing(self.baseline_steps, threshold)
        return self._around(at, self.baseline_steps), self._around(at * (1 - self.true_gain(factor)), steps)

    def _around(self, crossing: float, steps: int) -> int:
        grid = evaluation_steps(steps, self.eval_every, self.eval_every_late)
        after = next((index for index, step in enumerate(grid) if step >= crossing and index), len(grid) - 1)
        return grid[after] - grid[after - 1]

    def least_gain(self) -> float | None:
        """The smallest true gain that lies beyond the evaluation grid; no smaller one is ever accepted.

        Of the gains that a warmdown gives, from none to 1 bpb; None where the largest is within the grid.
        """
        for gain in np.geomspace(1e-4, 1.0, WARMDOWNS):
            at = self._with_warmdown(float(gain))
            if at.gain_steps() > max(at.grid_steps()):
                return at.true_gain()
        return None

    def _slope(self, step: float, steps: int) -> float:
        """How fast a run's loss falls at a step [bpb per step]."""
        low, high = step - 0.5, min(step + 0.5, float(steps))
        return (self.bpb(low, steps) - self.bpb(high, steps)) / (high - low)

    def with_effect(self, effect: float, factor: float = CONFIRMATION_FACTOR) -> Design:
        """The same lane on a surface whose warmdown gives a true gain of so many standard deviations.

        A negative effect is a loss: there the warmdown costs something, so that a longer run crosses sooner.
        """
        low, high = (0.0, 1.0) if effect >= 0 else (-0.2, 0.0)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self._with_warmdown(middle).effect(factor) < effect else (low, middle)
        return self._with_warmdown(high)

    def crossing(self, steps: int, threshold: float) -> float:
        """Step at which the mean seed's run of a horizon first is at the threshold: by bisection, for it falls."""
        low, high = 1.0, float(steps)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.bpb(middle, steps) > threshold else (low, middle)
        return high

    def with_gain(self, gain: float, factor: float = CONFIRMATION_FACTOR) -> Design:
        """The same lane on a surface whose warmdown gives just that true gain: the more it gives, the larger.

        Raises:
            ValueError: no warmdown gives it.
        """
        low, high = 0.0, 1.0
        if not 0 <= gain <= self._with_warmdown(high).true_gain(factor):
            most = self._with_warmdown(high).true_gain(factor)
            raise ValueError(f"a true gain of {gain:g}: with this baseline and offset it is between 0 and {most:.3g}")
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self._with_warmdown(middle).true_gain(factor) < gain else (low, middle)
        return self._with_warmdown(low)

    def _with_warmdown(self, gain: float) -> Design:
        return replace(self, surface=self.surface.model_copy(update={"warmdown_gain": gain}))
