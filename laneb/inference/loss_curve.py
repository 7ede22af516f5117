"""The loss curve over finished runs: L(D) = L_inf + A * D ** -alpha, with an effect per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.inference.checks import checked_number, checked_pair
from laneb.inference.seeds import effect_columns, sum_to_zero
from laneb.statistics.projection import FREE, Penalty, Projection

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
            repeated (within a seed), all losses equal, losses that do not improve with tokens, or an option that is no
            number of its range.

    Example:
        >>> curve = fit_loss_curve([1e8, 2e8, 4e8, 8e8], [1.0, 0.85, 0.75, 0.683], alpha=0.5)
        >>> round(curve.asymptote, 2), curve.r2 > 0.999
        (0.51, True)
    """
    x, y = _checked(tokens, losses, seeds)
    options = _checked_options(method, alpha, alpha_bounds, alpha_prior, asymptote_bounds, delta)
    horizons = len(np.unique(x))
    if alpha is None and horizons < (2 if alpha_prior else 3):
        raise LossCurveError(
            f"{horizons} horizons can't tell the exponent, which takes 3. Calibrate at one more horizon, or give alpha."
        )
    effects = effect_columns(x, seeds)
    check_improves(x, without_seed_effects(x, y, effects))
    projection = Projection(x, y, offset=options.asymptote_bounds, columns=effects)
    penalty = None if options.prior is None else _penalty(projection, options.prior)
    found = options.alpha
    if found is None:
        # Evenly in log alpha: the residual changes with alpha * log D, so small exponents need the finer steps.
        found = projection.best(np.geomspace(*options.alpha_bounds, 160), penalty)
    solved = projection.solve(found)
    fit = FittedCurve(found, solved.amplitude, solved.offset, solved.shifts, y - solved.residual)
    if method == "huber":
        from laneb.inference.robust import HuberProblem, refine_huber

        fit = refine_huber(HuberProblem(x, y, effects, options, penalty), fit)
    return _curve_of(fit, x, y, seeds, options)


@dataclass(frozen=True)
class FitOptions:
    """What a fit was asked for, checked."""

    method: Method
    alpha: float | None
    alpha_bounds: tuple[float, float]
    prior: tuple[float, float] | None
    asymptote_bounds: tuple[float, float]
    delta: float


@dataclass(frozen=True)
class FittedCurve:
    """A fit in its own terms."""

    alpha: float
    amplitude: float
    asymptote: float
    shifts: Floats
    """Seed effects in the sum-to-zero basis: added to the loss, or with "huber" to its logarithm."""
    fitted: Floats
    """[n] losses, seed effects in."""


def _checked_options(
    method: Method,
    alpha: float | None,
    alpha_bounds: tuple[float, float],
    alpha_prior: tuple[float, float] | None,
    asymptote_bounds: tuple[float, float] | None,
    delta: float,
) -> FitOptions:
    if method not in ("least_squares", "huber"):
        raise LossCurveError(f"method {method!r} is not known; it is least_squares or huber")
    try:
        held = None if alpha is None else checked_number("alpha", alpha)
        low, high = checked_pair("alpha_bounds", alpha_bounds, above=0)
        prior = None if alpha_prior is None else checked_pair("alpha_prior", alpha_prior)
        bounds = FREE if asymptote_bounds is None else asymptote_bounds
        floor, ceiling = checked_pair("asymptote_bounds", bounds, infinite=True)
        threshold = checked_number("delta", delta, above=0)
    except ValueError as error:
        raise LossCurveError(str(error)) from error
    if not low < high or floor > ceiling:
        raise LossCurveError(f"alpha_bounds {alpha_bounds} and asymptote_bounds {asymptote_bounds} rise")
    if prior is not None and held is not None:
        raise LossCurveError("alpha and alpha_prior: a given exponent has no prior; give one of them")
    if prior is not None and not prior[1] > 0:
        raise LossCurveError(f"the prior of alpha has standard deviation {prior[1]}; it is positive")
    return FitOptions(method, held, (low, high), prior, (floor, ceiling), threshold)


def _penalty(projection: Projection, prior: tuple[float, float]) -> Penalty:
    """((alpha - mean) / sd)^2 in units of the residual variance that the best exponent leaves."""
    points, seeds = len(projection.y), projection.columns.shape[1]
    freedom = points - 3 - seeds
    # Without freedom left for the noise, a thousandth of the spread stands for it.
    floor = (1e-3 * float(np.ptp(projection.y)) * projection.scale) ** 2
    left = float(projection.residuals(np.geomspace(*ALPHA_BOUNDS, 160)).min()) * points * projection.scale**2
    variance = max(left / freedom if freedom > 0 else 0.0, floor)
    return Penalty(prior[0], variance / prior[1] ** 2 / points)


def _curve_of(fit: FittedCurve, x: Floats, y: Floats, seeds: Sequence[int] | None, options: FitOptions) -> LossCurve:
    residual = y - fit.fitted
    without_seeds = (fit.asymptote + fit.amplitude * x**-fit.alpha) + residual
    total = float(np.sum((without_seeds - without_seeds.mean()) ** 2))
    free = options.alpha is None
    freedom = len(y) - 2 - len(fit.shifts) - int(free)
    low, high = options.alpha_bounds
    names = sorted(set(seeds or ())) if len(fit.shifts) else []
    scale = float(fit.fitted.mean()) if options.method == "huber" else 1.0
    effects = (sum_to_zero(len(names)) @ fit.shifts * scale).tolist() if names else []
    return LossCurve(
        amplitude=fit.amplitude,
        asymptote=fit.asymptote,
        alpha=fit.alpha,
        r2=1.0 - float(residual @ residual) / total if total > 0 else float("nan"),
        residual_sd=float(np.sqrt(residual @ residual / freedom)) if freedom > 0 else float("nan"),
        residual_freedom=freedom,
        alpha_fitted=free,
        alpha_at_bound=free and (fit.alpha <= low * 1.001 or fit.alpha >= high * 0.999),
        seed_effects={int(name): effect for name, effect in zip(names, effects, strict=True)},
        method=options.method,
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
