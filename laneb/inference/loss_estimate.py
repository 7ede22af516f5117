"""The loss at any horizon: a number, and how it hangs on each final and on the exponent's prior.

Between the calibrated horizons it is interpolated, beyond them the fitted curve goes on. Either way the exponent bends
the answer, so the exponent's own uncertainty (of its fit to the finals, and of a prior) is part of every weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.levels import Levels
from laneb.inference.loss_curve import LossCurve

Floats = NDArray[np.float64]

PRIOR_SD = 0.3
"""Standard deviation of the prior about an exponent that does not come from the finals."""
BEND_BOUNDS = (0.1, 1.0)
"""A fitted exponent beyond these would bend the interpolation by noise."""
NEGLIGIBLE_NOISE = 1e-6
"""Of the levels' spread: noise below it leaves the prior without weight, not the equations without rank."""
STEP = 1e-4
"""Difference of exponents for a derivative."""


@dataclass(frozen=True)
class LossEstimate:
    """Losses [g], linear about the fit in the finals [n] and in the mean of the exponent's prior."""

    loss: Floats
    """[g] bpb."""
    weights: Floats
    """[g, n] change of the loss with each final."""
    prior_weight: Floats
    """[g] change of the loss with the prior's mean [bpb per unit of exponent]."""

    def less(self, other: LossEstimate) -> LossEstimate:
        """The difference, with what both hang on counted once."""
        return LossEstimate(
            self.loss - other.loss, self.weights - other.weights, self.prior_weight - other.prior_weight
        )


@dataclass(frozen=True)
class ExponentWeights:
    """How the fitted exponent hangs on each final [n] and on the mean of its prior."""

    finals: Floats
    prior: float


@dataclass(frozen=True)
class Interpolation:
    """Straight lines in D ** -bend through levels that fall with D."""

    power: Floats
    """[k] D ** -bend of the nodes over that of the first, falling."""
    level: Floats
    """[k] falling."""
    weights: Floats
    """[k, n] of the levels on the cells."""
    first_tokens: float
    bend: float
    monotone: bool
    """No neighbouring levels had to be pooled."""

    @classmethod
    def through(cls, levels: Levels, bend: float) -> Interpolation:
        """Nodes at the horizons; neighbours that rise with tokens become one node at their mean (isotonic fit)."""
        horizons = levels.cells.horizons
        power = (horizons / horizons[0]) ** -bend
        blocks: list[list[int]] = []
        for index in range(len(horizons)):
            blocks.append([index])
            while len(blocks) > 1 and levels.level[blocks[-1]].mean() >= levels.level[blocks[-2]].mean():
                last = blocks.pop()
                blocks[-1] += last
        return cls(
            power=np.array([power[block].mean() for block in blocks]),
            level=np.array([levels.level[block].mean() for block in blocks]),
            weights=np.array([levels.weights[block].mean(axis=0) for block in blocks]),
            first_tokens=float(horizons[0]),
            bend=bend,
            monotone=len(blocks) == len(horizons),
        )

    def brackets(self, threshold: float) -> bool:
        """Whether the threshold lies between the first and the last node's level."""
        return len(self.level) > 1 and bool(self.level[0] >= threshold >= self.level[-1])

    def solve(self, threshold: float) -> float:
        """Tokens at a threshold that the nodes bracket."""
        power = float(np.interp(threshold, self.level[::-1], self.power[::-1]))
        return float(self.first_tokens * power ** (-1 / self.bend))

    def at(self, tokens: Floats) -> tuple[Floats, Floats]:
        """Loss [g] and weights on the cells [g, n] at `tokens` [g]; the end lines go on beyond the end nodes."""
        if len(self.level) == 1:
            return np.full(len(tokens), self.level[0]), np.repeat(self.weights, len(tokens), axis=0)
        power = (tokens / self.first_tokens) ** -self.bend
        right = np.clip(np.searchsorted(-self.power, -power), 1, len(self.power) - 1)
        share = ((power - self.power[right - 1]) / (self.power[right] - self.power[right - 1]))[:, None]
        weights = (1 - share) * self.weights[right - 1] + share * self.weights[right]
        loss = (1 - share[:, 0]) * self.level[right - 1] + share[:, 0] * self.level[right]
        return loss, weights


class Estimator:
    """The loss of the mean seed's run finished at any horizon.

    Args:
        levels: the finals' levels.
        curve: the loss curve through the finals, its exponent fitted to them and to the prior.
        prior_sd: standard deviation of the prior that the exponent was fitted with; None: it was fitted freely.
    """

    def __init__(self, levels: Levels, curve: LossCurve, prior_sd: float | None) -> None:
        self.levels, self.curve, self.prior_sd = levels, curve, prior_sd
        self.bend = float(np.clip(curve.alpha, *BEND_BOUNDS))
        self.first, self.last = float(levels.cells.horizons[0]), float(levels.cells.horizons[-1])
        self._middle = float(np.log(levels.cells.tokens).mean())
        self._curve_weights = self._solution(prior_sd)
        # Between horizons a free exponent is held in BEND_BOUNDS, as a prior would hold it.
        bend = self._curve_weights if prior_sd is not None else self._solution(PRIOR_SD)
        self._bend_weights = ExponentWeights(bend[2, :-1], float(bend[2, -1]))
        self.interpolation = Interpolation.through(levels, self.bend)
        self._bent = tuple(Interpolation.through(levels, self.bend + step) for step in (-STEP, STEP))

    @property
    def prior_variance(self) -> float:
        """Variance of the exponent's prior."""
        return float((self.prior_sd or PRIOR_SD) ** 2)

    @property
    def exponent_variance(self) -> float:
        """Variance of the exponent in use, from the finals' noise and the prior."""
        finals, prior = self._curve_weights[2, :-1], float(self._curve_weights[2, -1])
        return float(finals @ finals) * self.levels.noise.variance + prior**2 * self.prior_variance

    def __call__(self, tokens: Floats) -> LossEstimate:
        """The estimate at `tokens` [g] > 0."""
        within = (tokens >= self.first) & (tokens <= self.last)
        if within.all():
            return self._inside(tokens)
        inside, outside = self._inside(np.clip(tokens, self.first, self.last)), self.on_curve(tokens)
        return LossEstimate(
            np.where(within, inside.loss, outside.loss),
            np.where(within[:, None], inside.weights, outside.weights),
            np.where(within, inside.prior_weight, outside.prior_weight),
        )

    def _inside(self, tokens: Floats) -> LossEstimate:
        loss, weights = self.interpolation.at(tokens)
        less, more = (bent.at(tokens)[0] for bent in self._bent)
        bending = (more - less) / (2 * STEP)
        return LossEstimate(
            loss, weights + bending[:, None] * self._bend_weights.finals, bending * self._bend_weights.prior
        )

    def on_curve(self, tokens: Floats) -> LossEstimate:
        """The estimate on the fitted curve alone, at `tokens` [g] > 0, wherever they lie."""
        chained = self._basis(tokens) @ self._curve_weights[:3]
        return LossEstimate(self.curve.loss(tokens), chained[:, :-1], chained[:, -1])

    def _basis(self, tokens: Floats) -> Floats:
        """[g, 3] change of the curve with asymptote, amplitude at the middle of the horizons, and exponent."""
        log_tokens = np.log(tokens) - self._middle
        power = np.exp(-self.curve.alpha * log_tokens)
        amplitude = self.curve.amplitude * np.exp(-self.curve.alpha * self._middle)
        return np.column_stack([np.ones_like(power), power, -amplitude * log_tokens * power])

    def _solution(self, prior_sd: float | None) -> Floats:
        """[3, n + 1] change of asymptote, amplitude and exponent with each final and with the prior's mean.

        Least squares, linear about the curve, seed effects fitted beside; the prior is one more observation, of the
        exponent, with the finals' noise over `prior_sd` as its weight.
        """
        cells = self.levels.cells
        design = np.hstack([self._basis(cells.tokens), cells.effect_columns])
        if prior_sd is None:
            if self.curve.alpha_at_bound:
                design[:, 2] = 0.0
            return np.hstack([np.linalg.pinv(design)[:3], np.zeros((3, 1))])
        spread = float(np.ptp(self.levels.level))
        pull = max(self.levels.noise_sd, NEGLIGIBLE_NOISE * spread) / prior_sd
        row = np.zeros(design.shape[1])
        row[2] = pull
        solution = np.asarray(np.linalg.pinv(np.vstack([design, row]))[:3])
        solution[:, -1] *= pull
        return solution
