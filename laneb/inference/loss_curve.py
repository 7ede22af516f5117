"""The loss curve over finished runs: L(D) = L_inf + A * D ** -alpha, with an effect per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.inference.seeds import effect_columns, sum_to_zero

Floats = NDArray[np.float64]
Method = Literal["least_squares", "huber"]

ALPHA_BOUNDS = (0.01, 3.0)
"""Where a free exponent is looked for. Below, the curve is a logarithm in all but name; above, a step."""


class LossCurveError(ValueError):
    """The points can't give a loss curve; the message says which and why."""


@dataclass(frozen=True)
class LossCurve:
    """L(D) = asymptote + amplitude * D ** -alpha, D in tokens, L in the loss's unit [bpb]."""

    amplitude: float
    asymptote: float
    alpha: float
    r2: float = float("nan")
    residual_sd: float = float("nan")
    """Residual standard deviation with the fitted parameters' degrees of freedom taken off; NaN if none is left."""
    residual_freedom: int = 0
    """Points less fitted parameters."""
    alpha_fitted: bool = False
    alpha_at_bound: bool = False
    seed_effects: Mapping[int, float] = field(default_factory=dict)
    """Loss of a seed above the mean of all seeds [bpb]; they sum to 0. Empty where the design can't tell them."""
    method: Method = "least_squares"

    def loss(self, tokens: ArrayLike) -> Floats:
        """Loss of the mean seed at `tokens` (any shape)."""
        return np.asarray(self.asymptote + self.amplitude * np.asarray(tokens, float) ** -self.alpha)


def fit_loss_curve(
    tokens: ArrayLike,
    losses: ArrayLike,
    alpha: float | None = None,
    *,
    seeds: Sequence[int] | None = None,
    method: Method = "least_squares",
    alpha_bounds: tuple[float, float] = ALPHA_BOUNDS,
    alpha_prior: tuple[float, float] | None = None,
    asymptote_bounds: tuple[float, float] | None = None,
    delta: float = 1e-3,
) -> LossCurve:
    """Fit L(D) = L_inf + A * D ** -alpha to the finals of finished runs.

    "least_squares": A, L_inf and the seed effects by linear least squares on the loss, for each alpha (variable
    projection, Golub and Pereyra 1973); a free alpha minimizes what remains. "huber": the summed Huber loss
    (threshold `delta`) of log L - logsumexp(log A - alpha log D, log L_inf), as in Hoffmann et al. 2022
    (arXiv:2203.15556, approach 3) and Besiroglu et al. 2024 (arXiv:2404.10102); there seed effects are factors.

    Args:
        tokens: [n] training tokens of each run, > 0, in any order.
        losses: [n] its final loss [bpb].
        alpha: the exponent; None fits it, which takes three different horizons, or two and a prior.
        seeds: [n] the run's seed. With it a horizon may stand there once per seed, and an additive effect per seed is
            fitted wherever seeds and horizons overlap enough to tell them apart.
        method: "least_squares" or "huber".
        alpha_bounds: range of a free alpha.
        alpha_prior: (mean, standard deviation) of a normal prior on a free alpha.
        asymptote_bounds: range of L_inf; when the free one lies outside, A is refitted with L_inf at the bound.
        delta: Huber threshold on the log residual.

    Returns:
        The curve of the mean seed. R^2 is on the scale of the loss, over the losses with seed effects taken out.

    Raises:
        LossCurveError: shapes differ, a value is not finite, fewer than 2 points, tokens not positive, a horizon
            repeated (within a seed), all losses equal, or losses that do not improve with tokens.
    """
    x, y = _checked(tokens, losses, seeds)
    if method not in ("least_squares", "huber"):
        raise LossCurveError(f"method {method!r} is not known; it is least_squares or huber")
    effects = effect_columns(x, seeds)
    horizons = len(np.unique(x))
    if alpha is None and horizons < (2 if alpha_prior else 3):
        raise LossCurveError(
            f"{horizons} horizons can't tell the exponent, which takes 3. Calibrate at one more horizon, or give alpha."
        )
    if alpha is not None and not np.isfinite(alpha):
        raise LossCurveError(f"alpha {alpha} is not finite")
    check_improves(x, without_seed_effects(x, y, effects))
    problem = LinearProblem(x, y, effects, asymptote_bounds)
    found = _search_alpha(problem, alpha_bounds, alpha_prior) if alpha is None else float(alpha)
    if method == "huber":
        from laneb.inference.robust import refine_huber

        solution = refine_huber(
            x, y, effects, found, alpha is None, alpha_bounds, delta, problem.solve(found).coefficients
        )
        found, amplitude, asymptote, shifts = solution
        fitted_losses = (asymptote + amplitude * x**-found) * np.exp(effects @ shifts)
    else:
        solved = problem.solve(found)
        amplitude, asymptote, shifts, fitted_losses = solved.amplitude, solved.asymptote, solved.shifts, solved.fitted
    return _curve(
        x, y, effects, seeds, fitted_losses, amplitude, asymptote, found, shifts, alpha is None, alpha_bounds, method
    )


def _curve(
    x: Floats,
    y: Floats,
    effects: Floats,
    seeds: Sequence[int] | None,
    fitted: Floats,
    amplitude: float,
    asymptote: float,
    alpha: float,
    shifts: Floats,
    alpha_fitted: bool,
    alpha_bounds: tuple[float, float],
    method: Method,
) -> LossCurve:
    residual = y - fitted
    without_seeds = (asymptote + amplitude * x**-alpha) + residual
    total = float(np.sum((without_seeds - without_seeds.mean()) ** 2))
    freedom = len(y) - 2 - effects.shape[1] - int(alpha_fitted)
    low, high = alpha_bounds
    names = sorted(set(seeds)) if seeds is not None else []
    per_seed = {}
    if effects.shape[1]:
        scale = float(fitted.mean()) if method == "huber" else 1.0
        per_seed = {
            int(name): float(value) * scale for name, value in zip(names, sum_to_zero(len(names)) @ shifts, strict=True)
        }
    return LossCurve(
        amplitude=amplitude,
        asymptote=asymptote,
        alpha=alpha,
        r2=1.0 - float(residual @ residual) / total if total > 0 else float("nan"),
        residual_sd=float(np.sqrt(residual @ residual / freedom)) if freedom > 0 else float("nan"),
        residual_freedom=freedom,
        alpha_fitted=alpha_fitted,
        alpha_at_bound=alpha_fitted and (alpha <= low * 1.001 or alpha >= high * 0.999),
        seed_effects=per_seed,
        method=method,
    )


def _checked(tokens: ArrayLike, losses: ArrayLike, seeds: Sequence[int] | None) -> tuple[Floats, Floats]:
    try:
        x, y = np.asarray(tokens, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LossCurveError(f"tokens and losses are numbers: {error}") from error
    if x.ndim != 1 or x.shape != y.shape or (seeds is not None and len(seeds) != len(x)):
        raise LossCurveError(f"tokens {x.shape} and losses {y.shape} (and seeds) are one-dimensional and equally long")
    if len(x) < 2:
        raise LossCurveError(f"{len(x)} calibration point(s); a loss curve takes at least 2 horizons")
    if not np.isfinite(x).all() or not np.isfinite(y).all():
        where = int(np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))[0])
        raise LossCurveError(f"point {where + 1} is not finite: {x[where]} tokens, loss {y[where]}")
    if (x <= 0).any():
        raise LossCurveError(f"token counts are positive; there is {x.min():g}")
    keys = list(zip(x.tolist(), seeds if seeds is not None else [0] * len(x), strict=True))
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise LossCurveError(
            f"{twice[0]:,.0f} tokens is repeated{'' if seeds is None else f' within seed {twice[1]}'}. "
            f"Take the median per horizon, or say which seed each point has."
        )
    if len(np.unique(x)) < 2:
        raise LossCurveError(f"all points have {x[0]:,.0f} tokens; a loss curve takes at least 2 horizons")
    return x, y


def check_improves(tokens: Floats, losses: Floats) -> None:
    """Refuse a flat loss, and one that does not fall as tokens grow.

    Raises:
        LossCurveError: with the numbers.
    """
    span = float(losses.max() - losses.min())
    if span <= 1e-12 * max(1.0, float(np.abs(losses).max())):
        raise LossCurveError(f"the metric is flat: all {len(losses)} points have loss {losses[0]:.6g}")
    first = float(losses[tokens == tokens.min()].mean())
    last = float(losses[tokens == tokens.max()].mean())
    trend = trend_correlation(tokens, losses)
    if last >= first or trend >= 0:
        raise LossCurveError(
            f"the metric does not improve with tokens: {first:.6g} at {tokens.min():,.0f}, {last:.6g} at "
            f"{tokens.max():,.0f} tokens (correlation with log tokens {trend:+.3f}). Calibrate further apart."
        )


def without_seed_effects(tokens: Floats, losses: Floats, effects: Floats) -> Floats:
    """Losses less the effects of their seeds, by least squares with a level per horizon."""
    if not effects.shape[1]:
        return losses
    levels = (tokens[:, None] == np.unique(tokens)[None, :]).astype(float)
    solution = np.linalg.lstsq(np.hstack([levels, effects]), losses - losses.mean(), rcond=None)[0]
    return np.asarray(losses - effects @ solution[levels.shape[1] :])


def trend_correlation(tokens: Floats, losses: Floats) -> float:
    """Pearson correlation of the loss with log tokens."""
    return float(np.corrcoef(np.log(tokens), losses)[0, 1])


@dataclass(frozen=True)
class _Solved:
    coefficients: Floats
    amplitude: float
    asymptote: float
    shifts: Floats
    fitted: Floats
    rss: float


@dataclass(frozen=True)
class LinearProblem:
    """The linear problem that is left once alpha is held."""

    x: Floats
    y: Floats
    effects: Floats
    asymptote_bounds: tuple[float, float] | None

    @cached_property
    def _fixed_basis(self) -> Floats:
        """Orthonormal columns of what does not depend on alpha: the constant and the seed effects."""
        return np.asarray(np.linalg.qr(np.column_stack([np.ones_like(self.x), self.effects]))[0])

    def residual_sums(self, alphas: Floats) -> Floats:
        """Residual sum of squares at each alpha, all at once."""
        if self.asymptote_bounds is not None:
            return np.array([self.solve(float(alpha)).rss for alpha in alphas])
        basis = self._fixed_basis
        log_x = np.log(self.x)
        power = np.exp(-alphas[:, None] * (log_x - log_x.mean()))
        power = power - (power @ basis) @ basis.T
        loss = self.y - self.y.mean()
        loss = loss - basis @ (basis.T @ loss)
        slope = (power @ loss) / np.maximum((power**2).sum(axis=1), 1e-300)
        return np.asarray(((loss - slope[:, None] * power) ** 2).sum(axis=1))

    def solve(self, alpha: float) -> _Solved:
        # Tokens over their geometric mean, and losses about their mean, keep the columns of one size.
        middle = float(np.log(self.x).mean())
        power = np.exp(-alpha * (np.log(self.x) - middle))
        offset = float(self.y.mean())
        design = np.column_stack([np.ones_like(self.x), power, self.effects])
        solution = np.linalg.lstsq(design, self.y - offset, rcond=None)[0]
        asymptote = float(solution[0]) + offset
        if self.asymptote_bounds is not None:
            low, high = self.asymptote_bounds
            if not low <= asymptote <= high:
                asymptote = low if asymptote < low else high
                rest = np.linalg.lstsq(design[:, 1:], self.y - asymptote, rcond=None)[0]
                solution = np.concatenate([[asymptote - offset], rest])
        fitted = design @ solution + offset
        with np.errstate(over="ignore"):
            amplitude = float(solution[1] * np.exp(alpha * middle))
        residual = self.y - fitted
        return _Solved(solution, amplitude, asymptote, solution[2:], fitted, float(residual @ residual))


def _search_alpha(problem: LinearProblem, bounds: tuple[float, float], prior: tuple[float, float] | None) -> float:
    from scipy.optimize import minimize_scalar

    low, high = bounds
    if not 0 < low < high:
        raise LossCurveError(f"alpha bounds {bounds} are positive and rise")
    # Evenly in log alpha: the residual changes with alpha * log D, so small exponents need the finer steps.
    grid = np.geomspace(low, high, 160)
    residuals = problem.residual_sums(grid)
    penalty_scale = 0.0
    if prior is not None:
        if not prior[1] > 0:
            raise LossCurveError(f"the prior of alpha has standard deviation {prior[1]}; it is positive")
        freedom = len(problem.y) - 3 - problem.effects.shape[1]
        # Without freedom left for the noise, a thousandth of the spread stands for it.
        floor = (1e-3 * float(np.ptp(problem.y))) ** 2
        penalty_scale = max(float(residuals.min()) / freedom if freedom > 0 else 0.0, floor)

    def objective(values: Floats) -> Floats:
        penalty = penalty_scale * ((values - prior[0]) / prior[1]) ** 2 if prior is not None else 0.0
        return np.asarray(problem.residual_sums(values) + penalty)

    values = objective(grid)
    best = int(values.argmin())
    bracket = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    refined = minimize_scalar(
        lambda value: float(objective(np.array([value]))[0]),
        bounds=bracket,
        method="bounded",
        options={"xatol": 1e-13, "maxiter": 200},
    )
    return float(refined.x) if refined.fun <= values[best] else float(grid[best])
