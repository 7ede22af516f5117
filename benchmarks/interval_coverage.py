"""How often the 95 % intervals of `infer_ratio` hold the truth, over simulated lanes.

Each lane draws seed effects and noise of the measured size onto L_inf + A D ** -alpha, so the true horizon is known.
The threshold is fixed, or the median of the lane's own baselines plus an offset; the exponent is left to the finals,
or given, and then wrong.

Run: python benchmarks/interval_coverage.py [--lanes 1000] [--only WORD]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from laneb.inference import infer_ratio

BATCH = 524_288
ASYMPTOTES = {0.2: 0.3, 0.4: 0.7, 0.6: 0.8, 0.8: 0.85}
"""Of a text whose loss falls with this exponent and is 0.92 after 1,500 steps."""
INSIDE = (0.93, 0.97)


@dataclass(frozen=True)
class Scenario:
    """A kind of lane: which seed runs which horizons [steps], how they scatter, where the answer lies."""

    name: str
    design: Sequence[tuple[int, Sequence[int]]]
    """(horizon, seeds)."""
    answer: float
    """The true horizon [steps]."""
    baseline: tuple[int, Sequence[int]] | None = None
    """Horizon and seeds of the runs whose median gives the threshold; None: a fixed one."""
    seed_sd: float = 1.34e-3
    noise_sd: float = 0.32e-3
    alpha: float = 0.4
    given: float | None = None
    expected: tuple[float, float] | None = INSIDE
    """Coverage; None: no interval at all, since nothing measures the noise."""

    def loss_at(self, steps: float) -> float:
        """Loss of the mean seed's run finished at a horizon [bpb]."""
        asymptote = ASYMPTOTES[self.alpha]
        return asymptote + (0.92 - asymptote) * (steps / 1500) ** -self.alpha

    def horizon_of(self, loss: float) -> float:
        """The horizon [steps] of that loss; infinite at or below the asymptote."""
        asymptote = ASYMPTOTES[self.alpha]
        if loss <= asymptote:
            return float("inf")
        return float(1500 * ((0.92 - asymptote) / (loss - asymptote)) ** (1 / self.alpha))


@dataclass(frozen=True)
class Outcome:
    """What the lanes of a scenario came to."""

    coverage: float
    half_width: float
    """Median, over the answer."""
    bias: float
    solved: float
    """Share of lanes with an answer; the others count as covered, since their interval is (0, inf)."""
    bounded: float
    """Share of lanes with an interval."""
    reached: float | None
    """Mean true probability with which a new run reaches the threshold at the horizon where 0.9 is said."""
    reach_coverage: float | None
    """Of the interval of the horizon at which that probability is 0.9; both None where no lane says one."""

    def as_expected(self, coverage: tuple[float, float] | None) -> bool:
        """Whether intervals cover as they should, or there is none, and what is said of new runs is true."""
        right = self.bounded == 0 if coverage is None else coverage[0] <= self.coverage <= coverage[1]
        return right and (self.reached is None or abs(self.reached - 0.9) < 0.05)

    def cells(self) -> list[str]:
        """The row's cells behind its name."""
        none = self.bounded == 0
        return [
            "no interval" if none else f"{self.coverage:.1%}",
            "" if none else f"{self.half_width:.2%}",
            f"{self.bias:+.2%}",
            f"{self.solved:.0%}",
            "" if self.reached is None else f"{self.reached:.3f}",
            "" if self.reach_coverage is None else f"{self.reach_coverage:.1%}",
        ]


def balanced(horizons: Sequence[int], seeds: int) -> list[tuple[int, Sequence[int]]]:
    """Every seed at every horizon."""
    return [(steps, range(41, 41 + seeds)) for steps in horizons]


FOUR, THREE, NEAR = (750, 1500, 2250, 3000), (750, 1500, 3000), (800, 1200, 1600)
BOTH = (41, 42)
ALL = (41, 42, 43)


def scenarios() -> Iterator[Scenario]:
    """The rows of the table."""
    for seeds, horizons in ((3, FOUR), (3, THREE), (3, NEAR), (5, FOUR), (8, NEAR)):
        what = f"{seeds} seeds x {'/'.join(map(str, horizons))}"
        middle, beyond, before = 1.2 * horizons[0], 1.2 * horizons[-1], horizons[0] / 1.2
        design, baseline = balanced(horizons, seeds), (horizons[-1], range(41, 41 + seeds))
        yield Scenario(f"{what}, inside", design, middle)
        yield Scenario(f"{what}, 1.2x beyond", design, beyond)
        yield Scenario(f"{what}, same seeds, inside", design, middle, baseline)
        yield Scenario(f"{what}, same seeds, 1.2x below", design, before, (horizons[1], range(41, 41 + seeds)))
    two_and_baselines = [(800, BOTH), (1200, BOTH), (1600, ALL)]
    yield Scenario("2 seeds x 3 and 3 baselines, inside", two_and_baselines, 1000)
    yield Scenario("2 seeds x 3 and 3 baselines, same seeds", two_and_baselines, 1000, (1600, ALL))
    others = [(800, (51, 52)), (1200, (51, 52)), (1600, (41, 42, 43, 51, 52))]
    yield Scenario("2 other seeds x 3 and 3 baselines, same seeds", others, 1000, (1600, ALL))
    yield Scenario("2 seeds x 3, inside", balanced(THREE, 2), 1100)
    yield Scenario("2 seeds x 3, same seeds", balanced(THREE, 2), 1100, (3000, BOTH))
    # Two horizons can't tell the exponent: the interval is that of its prior, and the truth lies well within it.
    two = balanced((1500, 3000), 3)
    yield Scenario("2 horizons x 3 seeds, inside", two, 2000, expected=(0.93, 1))
    yield Scenario("2 horizons x 3 seeds, same seeds", two, 2000, (3000, ALL), expected=(0.93, 1))
    one = [(750, (42,)), (1500, ALL), (2250, (42,))]
    yield Scenario("1 seed x 3 and 3 baselines, same seeds", one, 1300, (1500, ALL), expected=None)
    yield Scenario("1 seed x 4, inside", balanced(FOUR, 1), 1900, expected=None)
    yield Scenario("1 seed x 4, same seed", balanced(FOUR, 1), 1900, (3000, (41,)))
    yield Scenario("1 seed x 4, same seed, thrice the noise", balanced(FOUR, 1), 1900, (3000, (41,)), noise_sd=0.96e-3)
    for name, seed_sd, noise_sd in (("seeds as noisy as runs", 0.7e-3, 0.7e-3), ("tiny models' scatter", 4e-3, 1e-3)):
        for baseline in (None, (3000, ALL)):
            seeds = "" if baseline is None else ", same seeds"
            yield Scenario(f"3 seeds x 4, {name}{seeds}", balanced(FOUR, 3), 1900, baseline, seed_sd, noise_sd)
    for alpha, given in ((0.4, 0.2), (0.4, 0.8), (0.2, 0.6), (0.6, 0.2), (0.8, 0.4), (0.6, 0.8)):
        for horizons in (FOUR, NEAR):
            what = f"true {alpha}, given {given}, 3 seeds x {'/'.join(map(str, horizons))}"
            design, middle, beyond = balanced(horizons, 3), 1.25 * horizons[0], 1.2 * horizons[-1]
            wide = (0.93, 0.985)
            yield Scenario(f"{what}, inside", design, middle, alpha=alpha, given=given, expected=wide)
            yield Scenario(
                f"{what}, same seeds", design, middle, (horizons[-1], ALL), alpha=alpha, given=given, expected=wide
            )
            yield Scenario(f"{what}, 1.2x beyond", design, beyond, alpha=alpha, given=given, expected=wide)


def simulate(scenario: Scenario, lanes: int, seed: int = 7) -> Outcome:
    """`lanes` lanes of a scenario, drawn with `seed`."""
    generator = np.random.default_rng(seed)
    cells = [(steps, name) for steps, seeds in scenario.design for name in seeds]
    names = sorted({name for _, name in cells})
    frame = pd.DataFrame({"tokens": [steps * BATCH for steps, _ in cells], "seed": [name for _, name in cells]})
    effects = generator.normal(0, scenario.seed_sd, (lanes, len(names)))
    noise = generator.normal(0, scenario.noise_sd, (lanes, len(cells)))
    column = [names.index(name) for _, name in cells]
    losses = np.array([scenario.loss_at(steps) for steps, _ in cells]) + effects[:, column] + noise
    goal = scenario.loss_at(scenario.answer)
    options: dict[str, float] = {}
    thresholds = np.full(lanes, goal)
    if scenario.baseline is not None:
        at, seeds = scenario.baseline
        offset = goal - scenario.loss_at(at)
        own = [index for index, cell in enumerate(cells) if cell[0] == at and cell[1] in set(seeds)]
        thresholds = np.median(losses[:, own], axis=1) + offset
        options = {"baseline_tokens": at * BATCH, "offset": offset}
    hits, bounded, widths, errors, reached, reach_hits = 0, 0, [], [], [], []
    run_sd = float(np.hypot(scenario.seed_sd, scenario.noise_sd))
    for row, threshold in zip(losses, thresholds, strict=True):
        answer = infer_ratio(
            frame.assign(loss=row), threshold=threshold, n_scaling_params=BATCH, alpha=scenario.given, **options
        )
        low, high = answer.ratio_interval
        hits += low <= scenario.answer <= high
        bounded += (low, high) != (0.0, np.inf)
        if answer.ratio is not None:
            widths.append((high - low) / 2 / answer.ratio)
            errors.append(answer.ratio / scenario.answer - 1)
        reach = answer.reach(0.9)
        if reach.tokens is not None:
            reached.append(norm.cdf((threshold - scenario.loss_at(reach.tokens / BATCH)) / run_sd))
            truth = scenario.horizon_of(threshold - norm.ppf(0.9) * run_sd) * BATCH
            reach_hits.append(reach.interval[0] <= truth <= reach.interval[1])
    return Outcome(
        hits / lanes,
        float(np.median(widths)),
        float(np.mean(errors)),
        len(errors) / lanes,
        bounded / lanes,
        float(np.mean(reached)) if reached else None,
        float(np.mean(reach_hits)) if reached else None,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lanes", type=int, default=1000)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    options = parser.parse_args()
    missed = 0
    print(f"{options.lanes} lanes a row; 95 % intervals")
    print("| lanes | covers | half width | bias | solved | 0.9 is | reach covers |")
    print("|---" * 7 + "|")
    began = time.perf_counter()
    for scenario in scenarios():
        if options.only not in scenario.name:
            continue
        found = simulate(scenario, options.lanes)
        right = found.as_expected(scenario.expected)
        missed += not right
        print(f"| {' | '.join([scenario.name, *found.cells()])} |{'' if right else ' (!)'}", flush=True)
    print(f"{time.perf_counter() - began:.0f} s; {missed} rows outside what is expected")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
