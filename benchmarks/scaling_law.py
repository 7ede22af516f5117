"""How long a parametric scaling law takes to fit: 240 points from all 4,500 starts, and what scipy alone would take.

Run: python benchmarks/scaling_law.py [--bootstrap 1000] [--sample 40]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.optimize import minimize

from laneb.inference import fit_parametric_law
from laneb.inference.batched import LawProblem
from laneb.inference.parametric import starting_grid

POINTS = 240
LIMIT_SEC = 30.0


def published_like() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """240 runs over the sizes and computes of Hoffmann et al. 2022, on Besiroglu et al.'s law, with 1 % noise."""
    generator = np.random.default_rng(0)
    sizes = 10 ** generator.uniform(7.6, 10.2, POINTS)
    tokens = np.clip(10 ** generator.uniform(18, 22, POINTS) / 6 / sizes, 1e8, 1e12)
    losses = 1.8172 + 482.01 * sizes**-0.3478 + 2085.43 * tokens**-0.3658
    return sizes, tokens, losses * np.exp(generator.normal(0, 0.01, POINTS))


def one_by_one(sizes: np.ndarray, tokens: np.ndarray, losses: np.ndarray, sample: int) -> tuple[float, float]:
    """Seconds per start of scipy's BFGS with exact gradients, and the least objective over delta**2 that it finds."""
    middle = (float(np.log(sizes).mean()), float(np.log(tokens).mean()))
    problem = LawProblem(np.log(sizes) - middle[0], np.log(tokens) - middle[1], np.log(losses), 1e-3)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        return problem.value_and_gradient(theta)

    grid = starting_grid(middle)
    chosen = grid[np.random.default_rng(1).choice(len(grid), sample, replace=False)]
    began = time.perf_counter()
    least = min(minimize(objective, start, jac=True, method="BFGS").fun for start in chosen)
    return (time.perf_counter() - began) / sample, float(least)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bootstrap", type=int, default=0)
    parser.add_argument("--sample", type=int, default=40, help="starts that scipy alone runs, one by one")
    options = parser.parse_args()
    runs = published_like()
    began = time.perf_counter()
    law = fit_parametric_law(*runs, bootstrap=options.bootstrap)
    took = time.perf_counter() - began
    print(f"{POINTS} points, {law.starts} starts, {options.bootstrap} draws: {took:.1f} s (limit {LIMIT_SEC:.0f} s)")
    print(f"E {law.E:.4f}  A {law.A:.1f}  B {law.B:.1f}  alpha {law.alpha:.4f}  beta {law.beta:.4f}")
    print(f"objective {law.objective:.9g}; {law.starts_at_best} starts ended within 0.1 % of it")
    for name, (low, high) in law.intervals.items():
        print(f"  {name}: {low:.4g} to {high:.4g}")
    per_start, least = one_by_one(*runs, options.sample)
    print(
        f"scipy's BFGS one by one: {per_start * 1000:.1f} ms a start, {per_start * law.starts:.0f} s for all; "
        f"least of {options.sample}: {least * 1e-6:.9g}"
    )
    return 0 if took < LIMIT_SEC or options.bootstrap else 1


if __name__ == "__main__":
    raise SystemExit(main())
