"""How often the 95 % interval of `infer_ratio` covers the truth, over simulated lanes.

Each lane draws seed effects and noise of the measured size onto L_inf + A D ** -alpha, so the true horizon is known.
Beside the interval in use it shows what a plain bootstrap over seeds would cover, which is why three seeds get a t.

Run: python benchmarks/interval_coverage.py [--lanes 1000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from laneb.inference import infer_ratio
from laneb.inference.lane import solve_cells
from laneb.inference.levels import cells_from
from laneb.inference.uncertainty import bootstrap_interval

BATCH = 524_288
ASYMPTOTE, ALPHA = 0.7, 0.4
AMPLITUDE = 0.22 * (1500 * BATCH) ** ALPHA


@dataclass(frozen=True)
class Scenario:
    """A kind of lane: which seed runs which horizons [steps], how they scatter, where the answer lies."""

    name: str
    design: Sequence[tuple[int, Sequence[int]]]
    """(horizon, seeds)."""
    answer: int
    seed_sd: float = 1.34e-3
    noise_sd: float = 0.32e-3
    alpha: float | None = None
    expected: tuple[float, float] = (0.93, 0.97)


def balanced(horizons: Sequence[int], seeds: int) -> list[tuple[int, Sequence[int]]]:
    return [(steps, range(seeds)) for steps in horizons]


FOUR = (750, 1500, 2250, 3000)
SCENARIOS = (
    Scenario("3 seeds x 4 horizons, between the first two", balanced(FOUR, 3), 1200),
    Scenario("3 seeds x 4 horizons, in the middle", balanced(FOUR, 3), 1900),
    Scenario("3 seeds x 4 horizons, extrapolated 1.2x", balanced(FOUR, 3), 3600),
    Scenario("3 seeds x 4 horizons, seeds as noisy as runs", balanced(FOUR, 3), 1200, 0.32e-3, 0.32e-3),
    Scenario("3 seeds x 4 horizons, tiny models' scatter", balanced((100, 200, 400, 800), 3), 300, 4e-3, 1e-3),
    Scenario("3 seeds x 4 horizons, exponent given, off by 0.2", balanced(FOUR, 3), 1900, alpha=0.6),
    Scenario("3 seeds x 3 horizons", balanced((750, 1500, 3000), 3), 1100),
    Scenario("2 seeds x 3 horizons", balanced((750, 1500, 3000), 2), 1100),
    Scenario(
        "2 seeds x 3 horizons and 3 baselines", [(750, (1, 2)), (1500, (0, 1, 2)), (2250, (1, 2)), (3000, (1, 2))], 1100
    ),
    Scenario("1 seed x 3 horizons (spread assumed)", balanced((750, 1500, 3000), 1), 1100, expected=(0.9, 1.0)),
    Scenario("5 seeds x 4 horizons", balanced(FOUR, 5), 1900),
)


def loss_at(tokens: float) -> float:
    return float(ASYMPTOTE + AMPLITUDE * tokens**-ALPHA)


def draw_lane(scenario: Scenario, generator: np.random.Generator) -> pd.DataFrame:
    effects = generator.normal(0, scenario.seed_sd, 1 + max(seed for _, seeds in scenario.design for seed in seeds))
    rows = [
        (steps * BATCH, loss_at(steps * BATCH) + effects[seed] + generator.normal(0, scenario.noise_sd), seed)
        for steps, seeds in scenario.design
        for seed in seeds
    ]
    return pd.DataFrame(rows, columns=["tokens", "loss", "seed"])


def covers(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def simulate(scenario: Scenario, lanes: int, resampled: int) -> tuple[float, float, float, float]:
    """Coverage, median relative width, coverage of a plain bootstrap over seeds (NaN where not tried), bias."""
    generator = np.random.default_rng(7)
    threshold, truth = loss_at(scenario.answer * BATCH), float(scenario.answer)
    hits, widths, plain, errors = 0, [], [], []
    for lane in range(lanes):
        points = draw_lane(scenario, generator)
        answer = infer_ratio(points, threshold=threshold, n_scaling_params=BATCH, alpha=scenario.alpha)
        hits += covers(answer.ratio_interval, truth)
        if answer.ratio is not None:
            widths.append((answer.ratio_interval[1] - answer.ratio_interval[0]) / answer.ratio)
            errors.append(answer.ratio / truth - 1)
        if lane < resampled:
            cells = cells_from(points)
            low, high = bootstrap_interval(
                cells, lambda drawn: solve_cells(drawn, threshold), 0.95, draws=200, seed=lane, expanded=False
            )
            plain.append(covers((low / BATCH, high / BATCH), truth))
    return (
        hits / lanes,
        float(np.median(widths)),
        float(np.mean(plain)) if plain else float("nan"),
        float(np.mean(errors)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lanes", type=int, default=1000)
    parser.add_argument("--resampled", type=int, default=100, help="lanes of the first scenario that are bootstrapped")
    options = parser.parse_args()
    missed = 0
    print(f"{options.lanes} lanes each; 95 % intervals")
    for index, scenario in enumerate(SCENARIOS):
        began = time.perf_counter()
        resampled = min(options.resampled, options.lanes) if index == 0 else 0
        coverage, width, plain, bias = simulate(scenario, options.lanes, resampled)
        within = scenario.expected[0] <= coverage <= scenario.expected[1]
        missed += not within
        line = f"{scenario.name:52s} covers {coverage:6.1%}{'' if within else ' (!)'}  width {width:6.1%}"
        beside = "" if np.isnan(plain) else f"  plain bootstrap covers {plain:.0%}"
        print(f"{line}  bias {bias:+.2%}{beside}  ({time.perf_counter() - began:.0f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
