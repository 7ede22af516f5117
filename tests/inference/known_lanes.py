"""Lanes whose whole inference is kept in known_answers.json, so that no number or sentence of it moves unseen.

The numbers themselves are held by the tests that compute them another way and by simulations of known truth; where a
change is meant, write the file anew and read its difference:
PYTHONPATH=tests/helpers python tests/inference/known_lanes.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kept_answers import rounded
from simulated_lanes import loss_at, run, scaling, statistics

from laneb.inference import calibration_from, infer
from laneb.knobs import InferenceKnobs
from laneb.records.runs import RunResult

ANSWERS = Path(__file__).parent / "known_answers.json"
SEEDS = (41, 42, 43)
EFFECTS = {41: 1.21e-3, 42: -1.63e-3, 43: 0.37e-3, 44: 0.9e-3}


def noise(steps: int, seed: int) -> float:
    """A deviation that is as irregular as noise and the same everywhere."""
    return 4e-4 * math.sin(7.3 * steps / 100 + 11.7 * seed)


def trained(*cells: tuple[int, int], scatter: float = 1.0, **changes: Any) -> list[RunResult]:
    """Runs at (horizon, seed) on the curve, with their seed's effect and a deviation."""
    return [
        run(steps, seed, final=loss_at(steps) + scatter * (EFFECTS[seed] + noise(steps, seed)), **changes)
        for steps, seed in cells
    ]


def grid(*horizons: int, seeds: tuple[int, ...] = SEEDS, **changes: Any) -> list[RunResult]:
    return trained(*((steps, seed) for steps in horizons for seed in seeds), **changes)


def usable(correlation: float, entropy: float, **changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**vars(statistics(correlation=correlation, entropy=entropy)) | changes)


def baselines(steps: int = 3000, **changes: Any) -> list[RunResult]:
    return grid(steps, **changes)


def fallback(runs: list[RunResult], final: Callable[[int], float]) -> list[RunResult]:
    """The same runs with other ends."""
    return [run(each.steps, each.seed, final=final(each.steps)) for each in runs]


LANES: dict[str, dict[str, Any]] = {
    "threshold from the baselines": {
        "runs": grid(750, 1500), "baselines": baselines(), "threshold": loss_at(3000) + 0.03, "offset": 0.03,
    },
    "baselines far above": {"runs": grid(1500, 3000), "baselines": baselines(750), "offset": 0.0, "threshold": 1.0},
    "given exponent, inside": {"runs": grid(750, 1500, 2250), "stats": usable(0.5, 0.6), "threshold": loss_at(1800)},
    "given exponent, beyond": {"runs": grid(750, 1500, 3000), "stats": usable(0.5, 0.7), "threshold": loss_at(3900)},
    "below": {"runs": grid(750, 1500, 3000), "threshold": loss_at(560), "stats": usable(0.5, 5.0)},
    "too far beyond": {"runs": grid(750, 1500, 3000), "threshold": loss_at(5200), "stats": statistics(entropy=None)},
    "under the asymptote": {"runs": grid(750, 1500, 3000), "threshold": 0.6},
    "closed form": {
        "runs": grid(750, 1500, 2250), "threshold": loss_at(2700),
        "knobs": {"solve_method": "fixed_alpha", "alpha_override": 0.3, "alpha_min": 0.35},
    },
    "one seed": {
        "runs": grid(750, 1500, 2250, seeds=(42,)), "threshold": loss_at(1200), "stats": statistics(weak=True),
    },
    "two horizons": {"runs": grid(750, 1500), "threshold": loss_at(1100), "stats": statistics(correlation=None)},
    "two horizons and one seed, beyond": {"runs": grid(750, 1500, seeds=(41,)), "threshold": loss_at(1600)},
    "unbalanced": {
        "runs": trained((750, 41), (750, 43), (1500, 41), (1500, 42), (1500, 43), (3000, 41), (3000, 42)),
        "threshold": loss_at(2000), "knobs": {"confirmation_rule": "reach", "reach_probability": 0.8},
        "stats": usable(0.5, 0.9),
    },
    "other seeds at other horizons": {
        "runs": trained((750, 41), (750, 42), (1500, 43), (1500, 44), (3000, 43)), "threshold": loss_at(2000),
    },
    "two other seeds": {"runs": grid(750, 1500, 2250, seeds=(41, 42)), "threshold": loss_at(1000),
                        "stats": usable(0.0, 0.5), "knobs": {"alpha_fallback_mode": "none"}},
    "as noisy as the levels": {"runs": grid(750, 900, 1000, scatter=25.0), "threshold": loss_at(880)},
    "a longer horizon that ended higher": {
        "runs": [*grid(750, 1500, 3000), *fallback(grid(4000), lambda steps: loss_at(2800))],
        "threshold": loss_at(2000),
    },
    "a negative asymptote": {
        "runs": fallback(grid(750, 1500, 3000), lambda steps: 5.5 - 0.9 * math.log2(steps / 750)), "threshold": 4.4,
        "stats": statistics(entropy=9.0),
    },
    "on the baselines' own curves": {
        "runs": grid(750, 1500, 2250), "baselines": baselines(1500, trunk_excess=0.0), "threshold": loss_at(1800),
        "stats": statistics(entropy=None),
        "knobs": {"alpha_fallback_mode": "baseline_assisted", "baseline_alpha_grid_step": 0.1},
    },
    "baselines that fit no curve": {
        "runs": grid(750, 1500, 2250), "baselines": baselines(1500), "threshold": loss_at(1800),
        "stats": statistics(weak=True),
        "knobs": {"alpha_fallback_mode": "baseline_assisted", "baseline_alpha_grid_step": 0.2,
                  "baseline_alpha_min_r2": 0.9999},
    },
    "no baselines to search on": {
        "runs": grid(750, 1500, 2250), "threshold": loss_at(1800), "stats": usable(0.5, 0.5, entropy_usable_fit=None),
        "knobs": {"alpha_fallback_mode": "baseline_assisted"},
    },
    "allowed weak statistics": {
        "runs": grid(750, 1500, 2250), "threshold": loss_at(1800), "stats": statistics(weak=True),
        "knobs": {"allow_low_quality_stats": True, "confirmation_rule": "reach", "reach_probability": 0.9999999},
    },
    "unreachable but allowed": {
        "runs": grid(750, 1500, 2250), "threshold": loss_at(1800),
        "knobs": {"unreachable_mult": 0.5, "allow_unreachable": True},
    },
    "unreachable": {"runs": grid(750, 1500, 2250), "threshold": loss_at(1800), "knobs": {"unreachable_mult": 0.5}},
    "baselines of other recipes": {
        "runs": grid(750, 2250, recipe="a"), "threshold": loss_at(1800), "offset": 0.02,
        "baselines": [*grid(1500, seeds=(41,), recipe="b"), *grid(1500, seeds=(42, 43), backend="imported")],
    },
    "a warmdown that does not pay": {
        "runs": grid(750, 1500, 2250, trunk_excess=0.001), "baselines": baselines(1850), "threshold": loss_at(1800),
        "offset": loss_at(1800) - loss_at(1850),
    },
}  # fmt: skip


WITH_SENSITIVITY = ("threshold from the baselines", "given exponent, beyond", "unbalanced", "two horizons")


def inferred(name: str) -> dict[str, Any]:
    """The record of a lane's inference, without the time at which it was made."""
    lane = LANES[name]
    made = lane.get("baselines", [])
    record = infer(
        stats=lane.get("stats", statistics()), calibration=calibration_from(lane["runs"], baselines=made),
        threshold=lane["threshold"], scaling=scaling(), baselines=made, runs=lane["runs"],
        inference=InferenceKnobs(**lane.get("knobs", {})), default_ratio=10.5, required_seeds=SEEDS,
        threshold_offset=lane.get("offset"),
    )  # fmt: skip
    answer: dict[str, Any] = record.model_dump(mode="json")
    del answer["timestamp_utc"]
    if name not in WITH_SENSITIVITY:
        del answer["sensitivity"]
    return answer


if __name__ == "__main__":
    answers = {name: rounded(inferred(name), 10) for name in LANES}
    lines = (f"{json.dumps(name)}: {json.dumps(answer, sort_keys=True)}" for name, answer in answers.items())
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
