"""The whole rule in lanes of known truth: baselines, threshold, calibration, inference, candidates, verdict.

Run: python benchmarks/operating_characteristics.py [LANES [WORD [PART]]], WORD choosing rows by the scatter's name,
PART those of one kind: false (verdicts), gain or loss

Prints how often the verdict is false without a gain, over four looks, and its power where there is one, mode by mode;
exits 1 where a bound that docs/method.md promises is broken. 1,000 lanes a row by default.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from laneb.planning import Design, simulate_lanes
from laneb.training.surface import Surface

PARAMETERS, BATCH = 110_101_632, 524_288
SCATTERS = {"seed effects that carry over": (1.34e-3, 0.32e-3), "runs as noisy as seeds": (0.7e-3, 0.7e-3)}
"""Sds of seed effects and of a run's own noise [bpb]."""

MODES = {"confirmation": 1.05, "inferred": 1.0}
"""Each mode's horizon, as a multiple of the inferred one."""

LOOKS = ((3, 4, 5, 6), (2, 3, 5, 8))
SEEDS = (2, 3, 5, 8, 12)
EFFECT = 5.0
FALSE, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Row:
    """A row of the table, and whether it holds what is promised."""

    text: str
    holds: bool


def design_of(seed_sd: float, noise_sd: float) -> Design:
    """A lane of depth 12: baselines of 1,500 steps, calibration at 900 and 1,200 with two seeds, offset 0.02."""
    surface = Surface(asymptote=0.7, amplitude=0.22 * (1500 * BATCH / PARAMETERS) ** 0.4, exponent=0.4,
                      warmdown_gain=0.05, seed_sd=seed_sd, noise_sd=noise_sd)  # fmt: skip
    return Design(surface, BATCH, PARAMETERS, baseline_steps=1500, calibration_steps=(900, 1200), eval_every=250,
                  eval_every_late=2)  # fmt: skip


def rows(lanes: int, word: str = "", part: str = "") -> Iterator[Row]:
    """Every row, as it is played, of the scatters whose name has the word; `part`: of one kind."""
    for name, (seed_sd, noise_sd) in SCATTERS.items():
        if word not in name:
            continue
        design = design_of(seed_sd, noise_sd)
        if part in ("", "false"):
            for looks in LOOKS:
                said = f"{name}, no gain, looks at {', '.join(map(str, looks))} seeds"
                yield false_verdicts(said, design, looks, lanes)
        if part in ("", "gain"):
            yield from power(f"{name}, each mode gains {EFFECT:g} sd or more", design, lanes)
        if part in ("", "loss"):
            yield from power_to_reject(f"{name}, each mode loses about {EFFECT:g} sd", design, lanes)


def false_verdicts(name: str, design: Design, looks: tuple[int, ...], lanes: int) -> Row:
    """Share of lanes without a gain that are ever accepted, or ever rejected."""
    outcomes = simulate_lanes(design, lanes=lanes, gain=0.0, looks=looks)
    accepted, rejected = (outcomes.ever[decision] for decision in ("ACCEPT", "REJECT"))
    each = max(outcomes.ever_rejected.values())
    allowed = FALSE + 2 * math.sqrt(FALSE * (1 - FALSE) / lanes)
    return Row(
        f"| {name} | ever ACCEPT {accepted:.1%}, ever REJECT {rejected:.1%}, a mode's own {each:.1%} |",
        max(accepted, rejected, each) <= allowed,
    )


def power(name: str, design: Design, lanes: int) -> Iterator[Row]:
    """Share of lanes in which modes whose true gains are `EFFECT` sds of a paired difference are accepted, by seeds."""
    at = design.with_effect(EFFECT, MODES["inferred"])
    outcomes = {seeds: simulate_lanes(at, lanes=lanes, looks=(seeds,)) for seeds in SEEDS}
    for mode, factor in MODES.items():
        shares = {seeds: played.modes[mode] for seeds, played in outcomes.items()}
        yield Row(
            f"| {name}: {mode} {at.true_gain(factor):.1%} | accepted {by_seeds(shares)} |",
            shares[3] >= POWER and not falls(shares, lanes),
        )
    covered = ", ".join(f"{played.coverage or 0.0:.1%} at {seeds}" for seeds, played in outcomes.items())
    yield Row(f"| {name}: the ratio's interval | covers {covered} seeds |", True)


def power_to_reject(name: str, design: Design, lanes: int) -> Iterator[Row]:
    """Share of lanes in which modes that truly lose `EFFECT` sds of a paired difference are rejected, by seeds."""
    at = design.with_effect(-EFFECT, MODES["inferred"])
    outcomes = {seeds: simulate_lanes(at, lanes=lanes, looks=(seeds,)) for seeds in SEEDS}
    for mode, factor in MODES.items():
        shares = {seeds: played.ever_rejected[mode] for seeds, played in outcomes.items()}
        yield Row(
            f"| {name}: {mode} {at.true_gain(factor):.1%} | rejected {by_seeds(shares)} |", not falls(shares, lanes)
        )


def by_seeds(shares: Mapping[int, float]) -> str:
    """Shares of lanes by their number of seeds, as the table has them."""
    return ", ".join(f"{share:.2f} at {seeds}" for seeds, share in shares.items()) + " seeds"


def falls(shares: Mapping[int, float], lanes: int) -> bool:
    """Whether a share falls somewhere with more seeds, by more than the draws explain."""
    noise = 2 * math.sqrt(0.1 / lanes)
    return any(shares[more] < shares[fewer] - noise for fewer, more in pairwise(SEEDS))


def main(arguments: list[str]) -> int:
    """Print the table."""
    lanes = int(arguments[0]) if arguments else 1000
    started, broken = time.monotonic(), 0
    print(f"{lanes} lanes a row\n\n| lanes | what becomes of them |\n|---|---|")
    for row in rows(lanes, *arguments[1:]):
        print(row.text + ("" if row.holds else "  <- breaks its bound"), flush=True)
        broken += not row.holds
    print(f"\n{time.monotonic() - started:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
