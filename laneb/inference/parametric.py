"""General scaling laws: L(N, D) = E + A N^-alpha + B D^-beta over runs of many sizes and horizons."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.inference.batched import LawProblem, minimize_batch
from laneb.inference.checks import checked_count, checked_number

Floats = NDArray[np.float64]

GRID = {
    "a": (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    "b": (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    "e": (-1.0, -0.5, 0.0, 0.5, 1.0),
    "alpha": (0.0, 0.5, 1.0, 1.5, 2.0),
    "beta": (0.0, 0.5, 1.0, 1.5, 2.0),
}
"""The 4,500 starts of Hoffmann et al. 2022: log A, log B, log E and the two exponents."""

ON_A_LINE = 0.01
"""Log tokens off a line of log tokens on log parameters: a percent, by which batches round horizons."""
ILL_CONDITIONED = 1e6
"""Condition number from which on a parameter is what the rounding of the others makes of it."""

POLISHED = 12
"""Best starts that are finished one by one; the others end within a ten-millionth of where they stall."""


@dataclass(frozen=True)
class ParametricLaw:
    """L(N, D) = E + A * N ** -alpha + B * D ** -beta."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    objective: float
    """Summed Huber loss of the log residuals at the fit."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % percentiles over the bootstrap, by name; empty without one."""
    starts: int = 0
    starts_at_best: int = 0
    """Starts that ended within 0.1 % of the least objective."""
    condition: float = float("nan")
    """Condition number of the information matrix at the fit, its columns scaled to length 1."""
    warnings: tuple[str, ...] = ()
    """What the design can't tell."""
    draws: Mapping[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    """The bootstrap's parameters, by name."""

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of a parameter over the bootstrap at a level between 0 and 1.

        Raises:
            ValueError: a name or level that is none, or a fit without a bootstrap.
        """
        level = checked_number("level", level, above=0, below=1)
        if name not in self.draws:
            raise ValueError(f"{name!r} has no bootstrap; fit with bootstrap=1000, and ask for E, A, B, alpha or beta")
        return _percentiles(self.draws[name], level)

    def loss(self, n_params: ArrayLike, tokens: ArrayLike) -> Floats:
        """Loss at sizes and horizons (broadcast)."""
        n, d = np.asarray(n_params, dtype=float), np.asarray(tokens, dtype=float)
        return np.asarray(self.E + self.A * n**-self.alpha + self.B * d**-self.beta)

    @property
    def size_exponent(self) -> float:
        """N grows with compute to this power along the compute-optimal frontier: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)


def fit_parametric_law(
    n_params: ArrayLike,
    tokens: ArrayLike,
    losses: ArrayLike,
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 42,
    *,
    threads: int = 2,
) -> ParametricLaw:
    """Fit L = E + A N^-alpha + B D^-beta by the summed Huber loss on the log.

    Minimizes sum_i Huber_delta(logsumexp(a - alpha log N_i, b - beta log D_i, e) - log L_i) over a, b, e, alpha and
    beta, with A = exp a and so on, from all 4,500 starts of the customary grid; the best are finished by BFGS.

    Args:
        n_params: [n] parameters of each run, > 0.
        tokens: [n] training tokens, > 0.
        losses: [n] final losses, > 0.
        delta: Huber threshold on the log residual.
        bootstrap: draws of the points with replacement for the intervals; 0: none.
        seed: of the draws.
        threads: batches of starts worked on at once.

    Raises:
        ValueError: shapes differ, a value is not a positive finite number, fewer than 6 points, fewer than two sizes or
            horizons, all points on one line of log D on log N (such as D = 20 N), which tells no law of two terms, or
            an option that is no number of its range.

    Source: Hoffmann et al. 2022 (arXiv:2203.15556), approach 3. The objective is summed, not averaged: averaged, an
    optimizer with the customary tolerance stops early (Besiroglu et al. 2024, arXiv:2404.10102).

    Example:
        >>> sizes, tokens = np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11])
        >>> sizes, tokens = sizes.ravel(), tokens.ravel()
        >>> law = fit_parametric_law(sizes, tokens, 1.8 + 480 * sizes**-0.35 + 2100 * tokens**-0.37)
        >>> round(law.E, 3), round(law.alpha, 3), round(law.beta, 3)
        (1.8, 0.35, 0.37)
    """
    n, d, loss = _checked(n_params, tokens, losses)
    delta = checked_number("delta", delta, above=0)
    draws = checked_count("bootstrap", bootstrap, least=0)
    seed, threads = checked_count("seed", seed, least=0), checked_count("threads", threads)
    log_n, log_d = np.log(n), np.log(d)
    middle = (float(log_n.mean()), float(log_d.mean()))
    problem = LawProblem(log_n - middle[0], log_d - middle[1], np.log(loss), delta)
    ends, values = minimize_batch(problem, starting_grid(middle), threads=threads)
    best, value = _polish(problem, ends, values)
    drawn = _bootstrap(problem, middle, best, ends, values, draws, seed, threads) if draws else {}
    names = _named(best[None, :], middle)
    condition = information_condition(problem, best)
    return ParametricLaw(
        **{name: float(column[0]) for name, column in names.items()},
        objective=value * delta**2,
        intervals={name: _percentiles(column, 0.95) for name, column in drawn.items()},
        draws=drawn,
        condition=condition,
        warnings=_untold(condition),
        starts=len(ends),
        starts_at_best=int((values <= value * 1.001 + 1e-12).sum()),
    )


def _checked(n_params: ArrayLike, tokens: ArrayLike, losses: ArrayLike) -> tuple[Floats, Floats, Floats]:
    columns = []
    for name, values in (("n_params", n_params), ("tokens", tokens), ("losses", losses)):
        try:
            column = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} are numbers: {error}") from error
        if column.ndim != 1:
            raise ValueError(f"{name} has shape {column.shape}; it is one-dimensional")
        if not (np.isfinite(column) & (column > 0)).all():
            at = int(np.flatnonzero(~(np.isfinite(column) & (column > 0)))[0])
            raise ValueError(f"{name}[{at}] is {column[at]}; every value is a positive finite number")
        columns.append(column)
    n, d, loss = columns
    if not len(n) == len(d) == len(loss):
        raise ValueError(f"n_params, tokens and losses have {len(n)}, {len(d)} and {len(loss)} values, not as many")
    if len(n) < 6:
        raise ValueError(f"{len(n)} points; a law of five parameters takes at least 6")
    if len(np.unique(n)) < 2 or len(np.unique(d)) < 2:
        raise ValueError("the points have one size or one horizon only, so its exponent can't be told; vary both")
    _refuse_a_line(n, d)
    return n, d, loss


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _refuse_a_line(n: Floats, d: Floats) -> None:
    """Refuse points on one line of log D on log N: then A N^-alpha + B D^-beta is two terms in one variable."""
    log_n, log_d = np.log(n), np.log(d)
    log_n, log_d = log_n - log_n.mean(), log_d - log_d.mean()
    slope = float(log_n @ log_d / (log_n @ log_n))
    if float(np.abs(log_d - slope * log_n).max()) < ON_A_LINE:
        raise ValueError(
            f"all points lie on one line, tokens proportional to n_params^{slope:.3g} (such as D = 20 N), so A, alpha, "
            f"B and beta can't be told apart: the information matrix is singular. Vary the horizon at fixed size."
        )


def information_condition(problem: LawProblem, theta: Floats) -> float:
    """Condition number of the information matrix of theta [5], its columns scaled to length 1."""
    _, one, two, three = (part[0] for part in problem.terms(theta[None, :]))
    jacobian = np.stack([one, two, three, -problem.log_n * one, -problem.log_d * two], axis=1)
    lengths = np.linalg.norm(jacobian, axis=0)
    if not (lengths > 0).all():
        return float("inf")
    values = np.linalg.svd(jacobian / lengths, compute_uv=False)
    return float((values[0] / values[-1]) ** 2) if values[-1] > 0 else float("inf")


def _untold(condition: float) -> tuple[str, ...]:
    if condition < ILL_CONDITIONED:
        return ()
    return (
        f"the design hardly tells the parameters apart: the information matrix has condition number {condition:.1e} "
        f"(limit {ILL_CONDITIONED:.0e}). Vary the horizon at fixed size, and the size at fixed horizon.",
    )


def starting_grid(middle: tuple[float, float]) -> Floats:
    """The 4,500 starts [4500, 5] on centred logs: a at the middle is a - alpha * mean log N."""
    grid = np.array(list(itertools.product(*GRID.values())))
    grid[:, 0] -= grid[:, 3] * middle[0]
    grid[:, 1] -= grid[:, 4] * middle[1]
    return grid


def _polish(problem: LawProblem, ends: Floats, values: Floats) -> tuple[Floats, float]:
    """The best of the best distinct ends after BFGS, started anew until it no longer gains."""
    from scipy.optimize import minimize

    chosen: list[Floats] = []
    for index in np.argsort(values, kind="stable"):
        if all(np.abs(ends[index] - other).max() > 1e-3 for other in chosen):
            chosen.append(ends[index])
        if len(chosen) == POLISHED:
            break
    best, value = ends[int(values.argmin())], float(values.min())
    for start in chosen:
        theta, before = start, np.inf
        for _ in range(8):
            found = minimize(
                problem.value_and_gradient, theta, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 500}
            )
            theta = np.asarray(found.x)
            if not found.fun < before * (1 - 1e-10):
                break
            before = float(found.fun)
        if found.fun < value:
            best, value = theta, float(found.fun)
    return best, value


def _bootstrap(
    problem: LawProblem,
    middle: tuple[float, float],
    best: Floats,
    ends: Floats,
    values: Floats,
    draws: int,
    seed: int,
    threads: int,
) -> dict[str, Floats]:
    """The parameters of draws, each refitted from the best fit and from other ends near it."""
    generator = np.random.default_rng(seed)
    points = len(problem.log_loss)
    counts = generator.multinomial(points, np.full(points, 1 / points), size=draws).astype(float)
    near = [best]
    for index in np.argsort(values, kind="stable"):
        if len(near) == 4 or values[index] > 2 * values.min() + 1.0:
            break
        if all(np.abs(ends[index] - other).max() > 0.05 for other in near):
            near.append(ends[index])
    starts = np.repeat(np.array(near), draws, axis=0)
    thetas, losses = minimize_batch(
        problem, starts, counts=np.tile(counts, (len(near), 1)), iterations=300, threads=threads
    )
    winner = losses.reshape(len(near), draws).argmin(axis=0)
    chosen = thetas.reshape(len(near), draws, 5)[winner, np.arange(draws)]
    return _named(chosen, middle)


def _named(theta: Floats, middle: tuple[float, float]) -> dict[str, Floats]:
    """The law's parameters of thetas [s, 5] on centred logs."""
    with np.errstate(over="ignore"):
        return {
            "E": np.exp(theta[:, 2]),
            "A": np.exp(theta[:, 0] + theta[:, 3] * middle[0]),
            "B": np.exp(theta[:, 1] + theta[:, 4] * middle[1]),
            "alpha": theta[:, 3],
            "beta": theta[:, 4],
        }
