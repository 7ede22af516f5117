"""The finals of finished runs as a table of horizons and seeds: levels, seed effects and how sure they are.

Model: loss of seed s at horizon h = level_h + effect_s + noise, effects about 0. Every estimate is a weighted sum of
the cells, so its variance is known from two: of seed effects and of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from laneb.inference.loss_curve import LossCurve, LossCurveError, check_improves, seed_columns

Floats = NDArray[np.float64]

ASSUMED_SEED_SD = 0.0015
"""Seed effect where a lane has one seed, as a share of the loss. Measured: 1.34 of 930 milli-bpb, and 4 of 2,800."""
ASSUMED_NOISE_SD = 0.00035
"""Noise within a seed where nothing measures it, as a share of the loss. Measured: 0.32 of 930 milli-bpb."""


@dataclass(frozen=True)
class Cells:
    """One loss per (horizon, seed)."""

    horizons: Floats
    """[H] distinct training tokens, rising."""
    seeds: tuple[int, ...]
    """[S] distinct seeds."""
    horizon_index: NDArray[np.int64]
    """[n] the cell's horizon."""
    seed_index: NDArray[np.int64]
    """[n] the cell's seed."""
    losses: Floats
    """[n]."""

    @property
    def tokens(self) -> Floats:
        """[n] the cell's training tokens."""
        return self.horizons[self.horizon_index]

    def effect_columns(self) -> Floats:
        """[n, S - 1] sum-to-zero columns of the seed effects; none where they can't be told from horizons."""
        return seed_columns(self.tokens, [self.seeds[index] for index in self.seed_index])

    def keeping(self, keep: NDArray[np.bool_]) -> Cells:
        """The cells where `keep` [n] holds, with horizons and seeds that are left without one dropped."""
        return cells_of(self.tokens[keep], np.asarray(self.seeds)[self.seed_index[keep]], self.losses[keep])


def cells_from(points: pd.DataFrame) -> Cells:
    """Cells of checked points; the same seed twice at one horizon (the same run on two machines) is averaged."""
    columns = (points[name].to_numpy() for name in ("tokens", "seed", "loss"))
    return cells_of(*columns)


def cells_of(tokens: Floats, seeds: NDArray[np.int64], losses: Floats) -> Cells:
    """Cells of points [n], [n], [n]."""
    horizons, horizon_index = np.unique(tokens, return_inverse=True)
    names, seed_index = np.unique(seeds, return_inverse=True)
    cell, where = np.unique(horizon_index * len(names) + seed_index, return_inverse=True)
    means = np.bincount(where, weights=losses) / np.bincount(where)
    return Cells(
        np.asarray(horizons, dtype=np.float64), tuple(int(name) for name in names), cell // len(names),
        cell % len(names), means,
    )  # fmt: skip


@dataclass(frozen=True)
class Levels:
    """Levels per horizon for the mean seed, as weighted sums of the cells, and the two variances."""

    cells: Cells
    weights: Floats
    """[H, n]: level = weights @ losses."""
    level: Floats
    """[H]."""
    seed_effects: Floats
    """[S], sum 0; zeros where they can't be told."""
    noise_variance: float
    noise_freedom: float
    """Degrees of freedom behind `noise_variance`; infinite where it is assumed."""
    seed_mean_square: float
    """Sum of squared seed effects over (S - 1): estimates seed variance + noise_share * noise variance."""
    seed_freedom: float
    noise_share: float
    seeds_assumed: bool
    """One seed: the spread over seeds is assumed, not measured."""
    effects_told: bool
    """Seed effects could be told from horizons."""

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the seed effects, noise taken off."""
        return float(np.sqrt(max(0.0, self.seed_mean_square - self.noise_share * self.noise_variance)))

    @property
    def noise_sd(self) -> float:
        """Standard deviation of a final about its level and seed effect."""
        return float(np.sqrt(self.noise_variance))

    def variance(self, contrast: Floats) -> tuple[Floats, Floats]:
        """Variance and degrees of freedom of estimates `contrast @ losses`, contrasts [g, n], each summing to 1.

        With every seed at every horizon each seed gives an estimate of its own, and the spread of those over S is
        exact with S - 1 degrees of freedom, however effects and noise share it. Else
        Var = seed variance * sum_s (sum of s's weights)^2 + noise variance * sum of weights^2, with the seed variance
        from the mean square of the effects. Satterthwaite's (1946) degrees of freedom are too many for so few seeds
        and S - 1 too few, so their geometric mean is taken (benchmarks/interval_coverage.py).
        """
        cells = self.cells
        seeds = np.zeros((len(cells.seeds), len(cells.losses)))
        seeds[cells.seed_index, np.arange(len(cells.losses))] = 1.0
        if self.effects_told and len(cells.losses) == len(cells.seeds) * len(cells.horizons):
            own = len(cells.seeds) * (contrast * (cells.losses - cells.losses.mean())) @ seeds.T
            return own.var(axis=1, ddof=1) / len(cells.seeds), np.full(len(contrast), len(cells.seeds) - 1.0)
        seed_part = ((contrast @ seeds.T) ** 2).sum(axis=1)
        noise_part = np.maximum((contrast**2).sum(axis=1) - seed_part * self.noise_share, 0.0)
        from_seeds = seed_part * self.seed_mean_square
        from_noise = noise_part * self.noise_variance
        total = from_seeds + from_noise
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = from_seeds**2 / self.seed_freedom + from_noise**2 / self.noise_freedom
            freedom = np.where(spread > 0, total**2 / spread, np.inf)
        if self.effects_told:
            freedom = np.sqrt(np.maximum(freedom, self.seed_freedom) * self.seed_freedom)
        return total, freedom


def estimate_levels(cells: Cells, curve: LossCurve) -> Levels:
    """Fit a level per horizon and an effect per seed by least squares.

    Args:
        cells: at least 2 horizons.
        curve: the fitted loss curve, whose residual is the noise where seeds leave no freedom to measure it.

    Raises:
        LossCurveError: the levels are flat or do not fall with tokens.
    """
    if len(cells.horizons) < 2:
        raise LossCurveError("all points have one horizon; a ratio takes finished runs at 2 horizons or more")
    effects = cells.effect_columns()
    horizon_columns = np.zeros((len(cells.losses), len(cells.horizons)))
    horizon_columns[np.arange(len(cells.losses)), cells.horizon_index] = 1.0
    design = np.hstack([horizon_columns, effects])
    inverse = np.linalg.pinv(design)
    weights = inverse[: len(cells.horizons)]
    # About the mean, so that a constant added to all losses comes out again to the last digit.
    offset = float(cells.losses.mean())
    level = weights @ (cells.losses - offset) + offset
    check_improves(cells.horizons, level)
    residual = cells.losses - offset - design @ (inverse @ (cells.losses - offset))
    freedom = len(cells.losses) - design.shape[1]
    seeds = len(cells.seeds)
    typical = abs(float(np.median(cells.losses)))
    if freedom > 0:
        noise, noise_freedom = float(residual @ residual) / freedom, float(freedom)
    elif curve.residual_freedom > 0:
        noise, noise_freedom = curve.residual_sd**2, float(curve.residual_freedom)
    else:
        noise, noise_freedom = (ASSUMED_NOISE_SD * typical) ** 2, float("inf")
    if effects.shape[1]:
        basis = np.vstack([np.eye(seeds - 1), -np.ones(seeds - 1)])
        effect_weights = basis @ inverse[len(cells.horizons) :]
        found = effect_weights @ cells.losses
        return Levels(
            cells, weights, level, found, noise, noise_freedom, float(found @ found) / (seeds - 1), float(seeds - 1),
            float((effect_weights**2).sum()) / (seeds - 1), seeds_assumed=False, effects_told=True,
        )  # fmt: skip
    zeros = np.zeros(seeds)
    if seeds > 1 and freedom > 0:
        # Seeds nested in horizons: the scatter within a horizon holds both, so it stands for both.
        return Levels(cells, weights, level, zeros, noise, noise_freedom, 0.0, 1.0, 0.0, False, False)
    assumed = (ASSUMED_SEED_SD * typical) ** 2
    return Levels(cells, weights, level, zeros, noise, noise_freedom, assumed, float("inf"), 0.0, True, False)
