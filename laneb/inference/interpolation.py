"""Losses between and beyond the calibrated horizons, as weighted sums of the finals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.levels import Cells, Levels
from laneb.inference.loss_curve import LossCurve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interpolation:
    """Straight lines in D ** -alpha through levels that fall with D."""

    power: Floats
    """[k] D ** -alpha of the nodes over that of the first, falling."""
    level: Floats
    """[k] falling."""
    weights: Floats
    """[k, n] of the levels on the cells."""
    first_tokens: float
    alpha: float
    monotone: bool
    """No neighbouring levels had to be pooled."""

    @classmethod
    def through(cls, levels: Levels, alpha: float) -> Interpolation:
        """Nodes at the horizons; neighbours that rise with tokens become one node at their mean (isotonic fit)."""
        horizons = levels.cells.horizons
        power = (horizons / horizons[0]) ** -alpha
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
            alpha=alpha,
            monotone=len(blocks) == len(horizons),
        )

    def brackets(self, threshold: float) -> bool:
        """Whether the threshold lies between the first and the last node's level."""
        return len(self.level) > 1 and bool(self.level[0] >= threshold >= self.level[-1])

    def solve(self, threshold: float) -> float:
        """Tokens at a threshold that the nodes bracket."""
        power = float(np.interp(threshold, self.level[::-1], self.power[::-1]))
        return float(self.first_tokens * power ** (-1 / self.alpha))

    def estimate(self, tokens: Floats) -> tuple[Floats, Floats]:
        """Loss [g] and weights on the cells [g, n] at `tokens` [g]; the end lines go on beyond the end nodes."""
        if len(self.level) == 1:
            return np.full(len(tokens), self.level[0]), np.repeat(self.weights, len(tokens), axis=0)
        power = (tokens / self.first_tokens) ** -self.alpha
        right = np.clip(np.searchsorted(-self.power, -power), 1, len(self.power) - 1)
        share = ((power - self.power[right - 1]) / (self.power[right] - self.power[right - 1]))[:, None]
        weights = (1 - share) * self.weights[right - 1] + share * self.weights[right]
        loss = (1 - share[:, 0]) * self.level[right - 1] + share[:, 0] * self.level[right]
        return loss, weights


def curve_estimator(cells: Cells, curve: LossCurve) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Loss of the fitted curve at tokens [g], and the weights [g, n] of its least-squares fit, linear about it."""
    middle = float(np.log(cells.tokens).mean())

    def basis(tokens: Floats) -> Floats:
        log_tokens = np.log(tokens) - middle
        power = np.exp(-curve.alpha * log_tokens)
        columns = [np.ones_like(power), power]
        if curve.alpha_fitted and not curve.alpha_at_bound:
            columns.append(-log_tokens * power)
        return np.column_stack(columns)

    at_cells = basis(cells.tokens)
    inverse = np.linalg.pinv(np.hstack([at_cells, cells.effect_columns()]))[: at_cells.shape[1]]

    def estimate(tokens: Floats) -> tuple[Floats, Floats]:
        return curve.loss(tokens), basis(tokens) @ inverse

    return estimate
