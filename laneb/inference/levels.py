"""What the points say: a level per horizon, an effect per seed, and how sure they are.

Model: loss of seed s at horizon h = level_h + effect_s + noise, effects about 0. Every estimate is a weighted sum of
the cells, so its variance is known from two: of seed effects and of noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from laneb.inference.loss_curve import LossCurve, LossCurveError, check_improves
from laneb.inference.seeds import effect_columns, sum_to_zero

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

ASSUMED_SEED_SD = 0.0015
"""Seed effect where a lane has one seed, as a share of the loss: 1.34 of 930 milli-bpb once, 4 of 2,800 another time.
It weighs finals against each other and stands in no interval and no probability, for lanes differ by factors."""
ASSUMED_NOISE_SD = 0.00035
"""Noise within a seed where nothing measures it, as a share of the loss: 0.32 of 930 milli-bpb once. Likewise."""


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
        return np.asarray(self.horizons[self.horizon_index])

    @property
    def balanced(self) -> bool:
        """Every seed ran at every horizon."""
        return len(self.losses) == len(self.seeds) * len(self.horizons)

    @cached_property
    def effect_columns(self) -> Floats:
        """[n, S - 1] sum-to-zero columns of the seed effects; none where they can't be told from horizons."""
        return effect_columns(self.tokens, [self.seeds[index] for index in self.seed_index])

    @cached_property
    def seed_indicator(self) -> Floats:
        """[S, n] 1 where the cell is the seed's."""
        return np.asarray(np.arange(len(self.seeds))[:, None] == self.seed_index[None, :], dtype=np.float64)

    def keeping(self, keep: NDArray[np.bool_]) -> Cells:
        """The cells where `keep` [n] holds, with horizons and seeds that are left without one dropped."""
        return cells_of(self.tokens[keep], np.asarray(self.seeds)[self.seed_index[keep]], self.losses[keep])


def cells_from(points: pd.DataFrame) -> Cells:
    """Cells of checked points; the same seed twice at one horizon (the same run on two machines) is averaged."""
    return cells_of(points["tokens"].to_numpy(), points["seed"].to_numpy(), points["loss"].to_numpy())


def cells_of(tokens: Floats, seeds: NDArray[np.int64], losses: Floats) -> Cells:
    """Cells of points [n], [n], [n]."""
    horizons, horizon_index = np.unique(tokens, return_inverse=True)
    names, seed_index = np.unique(seeds, return_inverse=True)
    cell, where = np.unique(horizon_index * len(names) + seed_index, return_inverse=True)
    return Cells(
        horizons=np.asarray(horizons, dtype=np.float64),
        seeds=tuple(int(name) for name in names),
        horizon_index=cell // len(names),
        seed_index=cell % len(names),
        losses=np.bincount(where, weights=losses) / np.bincount(where),
    )


@dataclass(frozen=True)
class Noise:
    """Scatter of a final about its level and its seed's effect."""

    variance: float
    freedom: float
    """Degrees of freedom behind it; infinite where it is assumed."""


@dataclass(frozen=True)
class SeedSpread:
    """Scatter of the seeds' effects."""

    mean_square: float
    """Sum of squared effects over (S - 1): estimates seed variance + noise_share * noise variance."""
    freedom: float
    noise_share: float
    origin: Literal["measured", "assumed", "in_noise"]
    """"assumed": there is one seed. "in_noise": seeds and horizons do not overlap, so the scatter within a horizon,
    or about the curve, holds both and stands for both."""


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
    noise: Noise
    seeds: SeedSpread

    @property
    def spread(self) -> float:
        """Level at the shortest horizon less that at the longest [bpb]."""
        return float(self.level[0] - self.level[-1])

    @property
    def noise_sd(self) -> float:
        """Standard deviation of a final about its level and seed effect."""
        return float(np.sqrt(self.noise.variance))

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the seed effects, noise taken off."""
        return float(np.sqrt(max(0.0, self.seeds.mean_square - self.seeds.noise_share * self.noise.variance)))

    @property
    def effects_told(self) -> bool:
        """Seed effects could be told from horizons."""
        return self.seeds.origin == "measured"

    @property
    def noise_assumed(self) -> bool:
        """Neither seeds nor the curve's residual measure the noise: it is assumed."""
        return bool(np.isinf(self.noise.freedom))

    @property
    def seeds_assumed(self) -> bool:
        """One seed: the spread over seeds is assumed, not measured."""
        return self.seeds.origin == "assumed"

    @property
    def spreads_measured(self) -> bool:
        """Both variances come from the finals, so that a probability may rest on them."""
        return not self.noise_assumed and not self.seeds_assumed

    def variance(self, contrast: Floats) -> tuple[Floats, Floats]:
        """Variance and degrees of freedom of estimates `contrast @ losses`, contrasts [g, n].

        With every seed at every horizon each seed gives an estimate of its own, and the spread of those over S is
        exact with S - 1 degrees of freedom, however effects and noise share it. Else it is put together from both.
        """
        cells, seeds = self.cells, len(self.cells.seeds)
        if self.effects_told and cells.balanced:
            own = seeds * (contrast * (cells.losses - cells.losses.mean())) @ cells.seed_indicator.T
            return own.var(axis=1, ddof=1) / seeds, np.full(len(contrast), seeds - 1.0)
        seed_part, noise_part = self.parts(contrast)
        return self.combined(seed_part, noise_part)

    def parts(self, contrast: Floats) -> tuple[Floats, Floats]:
        """How often the seeds' mean square and the noise variance stand in the variance of contrasts [g, n]."""
        seed_part = ((contrast @ self.cells.seed_indicator.T) ** 2).sum(axis=1)
        return seed_part, np.maximum((contrast**2).sum(axis=1) - seed_part * self.seeds.noise_share, 0.0)

    def combined(self, seed_part: Floats, noise_part: Floats, known: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """Variance [g] from so many of both, and of a known one, with its degrees of freedom [g].

        Satterthwaite's (1946) degrees of freedom are too many where few seeds' effects outweigh the noise, and S - 1
        too few, so their geometric mean is taken, as far as the seeds' part goes (benchmarks/interval_coverage.py).
        """
        from_seeds, from_noise = seed_part * self.seeds.mean_square, noise_part * self.noise.variance
        total = from_seeds + from_noise + known
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = from_seeds**2 / self.seeds.freedom + from_noise**2 / self.noise.freedom
            freedom = np.where(spread > 0, total**2 / spread, np.inf)
            share = np.where(total > 0, from_seeds / total, 0.0)
            if self.effects_told:
                few = self.seeds.freedom / freedom
                freedom = np.where((few < 1) & (share > 0), freedom * few ** (share / 2), freedom)
        return total, freedom


def estimate_levels(cells: Cells, curve: LossCurve) -> Levels:
    """Fit a level per horizon and an effect per seed by least squares.

    Args:
        cells: at least 2 horizons.
        curve: the fitted loss curve, whose residual is the noise where seeds leave no freedom to measure it.

    Raises:
        LossCurveError: the levels are flat or do not fall with tokens.
    """
    horizons, seeds = len(cells.horizons), len(cells.seeds)
    if horizons < 2:
        raise LossCurveError("all points have one horizon; a ratio takes finished runs at 2 horizons or more")
    at_horizon = (cells.horizon_index[:, None] == np.arange(horizons)[None, :]).astype(float)
    design = np.hstack([at_horizon, cells.effect_columns])
    inverse = np.linalg.pinv(design)
    # About the mean, so that a constant added to all losses comes out again to the last digit.
    offset = float(cells.losses.mean())
    solution = inverse @ (cells.losses - offset)
    level = solution[:horizons] + offset
    check_improves(cells.horizons, level)
    residual = cells.losses - offset - design @ solution
    freedom = len(cells.losses) - design.shape[1]
    noise = _noise(cells, residual, freedom, curve)
    effects = np.zeros(seeds)
    if cells.effect_columns.shape[1]:
        effect_weights = sum_to_zero(seeds) @ inverse[horizons:]
        effects = effect_weights @ cells.losses
        spread = SeedSpread(
            mean_square=float(effects @ effects) / (seeds - 1),
            freedom=seeds - 1.0,
            noise_share=float((effect_weights**2).sum()) / (seeds - 1),
            origin="measured",
        )
    elif seeds > 1 and np.isfinite(noise.freedom):
        spread = SeedSpread(mean_square=0.0, freedom=1.0, noise_share=0.0, origin="in_noise")
    else:
        assumed = (ASSUMED_SEED_SD * _typical(cells)) ** 2
        spread = SeedSpread(mean_square=assumed, freedom=float("inf"), noise_share=0.0, origin="assumed")
    return Levels(cells, weights=inverse[:horizons], level=level, seed_effects=effects, noise=noise, seeds=spread)


def _noise(cells: Cells, residual: Floats, freedom: int, curve: LossCurve) -> Noise:
    """From what levels and effects leave; else from what the curve leaves; else assumed."""
    if freedom > 0:
        return Noise(float(residual @ residual) / freedom, float(freedom))
    if curve.residual_freedom > 0:
        return Noise(curve.residual_sd**2, float(curve.residual_freedom))
    return Noise((ASSUMED_NOISE_SD * _typical(cells)) ** 2, float("inf"))


def _typical(cells: Cells) -> float:
    return abs(float(np.median(cells.losses)))
