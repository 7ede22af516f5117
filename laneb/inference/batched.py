"""Many starts of one log-sum-exp fit at once: a damped Gauss-Newton on Huber's loss, vectorized over the starts.

The model is log L = logsumexp(a - alpha n, b - beta d, e) with theta = (a, b, e, alpha, beta), n and d the centred logs
of parameters and tokens. Huber's loss is met by reweighting (weights 1 / max(1, |residual| / delta)), which never
raises it when a step is kept only if the loss falls (Levenberg 1944, Marquardt 1963; Holland and Welsch 1977).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.robust import huber

Floats = NDArray[np.float64]

CHUNK = 250
"""Starts per batch: their residuals and Jacobian stay in a core's cache."""
STALL = 1e-7
"""A start ends when its loss fell by less than this share over `PATIENCE` steps kept."""
PATIENCE = 5


@dataclass(frozen=True)
class LawProblem:
    """The points of a parametric law, on logs."""

    log_n: Floats
    """[n] centred."""
    log_d: Floats
    """[n] centred."""
    log_loss: Floats
    """[n]."""
    delta: float

    def terms(self, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """For thetas [s, 5]: residuals [s, n] and each term's share of the loss, [s, n] thrice."""
        first = theta[:, 0:1] - theta[:, 3:4] * self.log_n
        second = theta[:, 1:2] - theta[:, 4:5] * self.log_d
        third = theta[:, 2:3]
        top = np.maximum(np.maximum(first, second), third)
        one, two, three = np.exp(first - top), np.exp(second - top), np.exp(third - top)
        total = one + two + three
        return top + np.log(total) - self.log_loss, one / total, two / total, three / total

    def losses(self, residual: Floats, counts: Floats | None) -> Floats:
        """Summed Huber loss over delta**2, [s]; `counts` [s, n] says how often each point stands there."""
        value, _ = huber(residual, self.delta)
        return np.asarray((value if counts is None else value * counts).sum(axis=1))

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Summed Huber loss over delta**2 of one theta [5], and its gradient [5]."""
        residual, one, two, three = self.terms(theta[None, :])
        slope = huber(residual[0], self.delta)[1] / self.delta
        first, second = slope * one[0], slope * two[0]
        gradient = [first.sum(), second.sum(), slope @ three[0], -first @ self.log_n, -second @ self.log_d]
        return float(self.losses(residual, None)[0]), np.array(gradient)


def minimize_batch(
    problem: LawProblem, starts: Floats, *, counts: Floats | None = None, iterations: int = 150, threads: int = 2
) -> tuple[Floats, Floats]:
    """Minimize the summed Huber loss from every start.

    Args:
        problem: the points.
        starts: [s, 5].
        counts: [s, n] how often each point counts for each start (a bootstrap's draw); None: once.
        iterations: most steps of a start.
        threads: batches worked on at once; numpy lets go of the interpreter in them.

    Returns:
        thetas [s, 5] and losses over delta**2 [s].
    """
    pieces = [slice(low, low + CHUNK) for low in range(0, len(starts), CHUNK)]

    def work(piece: slice) -> tuple[Floats, Floats]:
        return _minimize_chunk(problem, starts[piece], None if counts is None else counts[piece], iterations)

    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, pieces))
    return np.concatenate([theta for theta, _ in done]), np.concatenate([loss for _, loss in done])


def _minimize_chunk(
    problem: LawProblem, starts: Floats, counts: Floats | None, iterations: int
) -> tuple[Floats, Floats]:
    theta = starts.copy()
    best = np.full(len(theta), np.inf)
    damping = np.full(len(theta), 1e-2)
    stalled = np.zeros(len(theta), dtype=np.int64)
    active = np.arange(len(theta))
    identity = np.eye(5)
    residual, *shares = problem.terms(theta)
    best[:] = problem.losses(residual, counts)
    for _ in range(iterations):
        if not len(active):
            break
        now = None if counts is None else counts[active]
        gradient, curvature = _normal_equations(problem, residual, shares, now)
        scale = np.maximum(np.einsum("sii->si", curvature), 1e-12 * curvature.max(axis=(1, 2))[:, None] + 1e-300)
        system = curvature + (damping[active, None] * scale)[:, :, None] * identity
        step = -np.linalg.solve(system, gradient[:, :, None])[:, :, 0]
        trial = theta[active] + np.clip(step, -5.0, 5.0)
        trial_residual, *trial_shares = problem.terms(trial)
        value = problem.losses(trial_residual, now)
        kept = value < best[active]
        gained = np.where(kept, (best[active] - value) / np.maximum(best[active], 1e-300), 0.0)
        rows = active[kept]
        theta[rows], best[rows] = trial[kept], value[kept]
        damping[active] = np.clip(np.where(kept, damping[active] / 4, damping[active] * 6), 1e-12, 1e12)
        stalled[active] = np.where(gained > STALL, 0, stalled[active] + 1)
        mask = kept[:, None]
        residual = np.where(mask, trial_residual, residual)
        shares = [np.where(mask, new, old) for new, old in zip(trial_shares, shares, strict=True)]
        going = (stalled[active] < PATIENCE) & (best[active] > 1e-20)
        active, residual = active[going], residual[going]
        shares = [share[going] for share in shares]
    return theta, best


def _normal_equations(
    problem: LawProblem, residual: Floats, shares: list[Floats], counts: Floats | None
) -> tuple[Floats, Floats]:
    """Gradient [s, 5] and Gauss-Newton curvature [s, 5, 5] of the reweighted squares."""
    one, two, three = shares
    jacobian = np.stack([one, two, three, -problem.log_n * one, -problem.log_d * two], axis=1)
    weight = 1.0 / np.maximum(1.0, np.abs(residual) / problem.delta)
    if counts is not None:
        weight = weight * counts
    weighted = jacobian * weight[:, None, :]
    gradient = np.matmul(weighted, residual[:, :, None])[:, :, 0]
    return gradient, np.matmul(weighted, jacobian.transpose(0, 2, 1))
