"""How the ratio moves when one thing is changed or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from laneb.inference.horizon import Horizon, solve_horizon
from laneb.inference.lane import HELD, Lane, Prior, Target, fit_cells, solve_lane
from laneb.inference.levels import Cells
from laneb.inference.ratio import RatioEstimate
from laneb.records.inference import SensitivityRow

ALPHA_STEPS = (-0.2, -0.1, 0.1, 0.2)
ASYMPTOTE_SHARES = (-0.05, -0.02, 0.02, 0.05)
OFFSET_SHARES = (-0.01, -0.005, 0.005, 0.01)
"""Added to the threshold, as a share of it."""


def sensitivity_table(points: pd.DataFrame, estimate: RatioEstimate) -> tuple[SensitivityRow, ...]:
    """One row per change of the exponent, asymptote or offset, per point and seed left out, and per other estimator.

    Args:
        points: what `infer_ratio` was given.
        estimate: its answer, which the rows are compared with.
    """
    rows = []
    for what, change, solve in _variants(estimate.lane, _names(points)):
        try:
            horizon = solve()
        except ValueError as error:
            tokens, status = None, str(error).split(". ")[0]
        else:
            tokens, status = horizon.tokens, horizon.status
        ratio = None if tokens is None else tokens / estimate.n_scaling_params
        relative = None if ratio is None or not estimate.ratio else ratio / estimate.ratio - 1
        rows.append(
            SensitivityRow.model_validate(
                {"what": what, "change": change, "ratio": ratio, "relative_change": relative, "status": status}
            )
        )
    return tuple(rows)


def _names(points: pd.DataFrame) -> dict[tuple[float, int], str]:
    """What a cell's point is called."""
    labels = points["run_id"] if "run_id" in points.columns else [""] * len(points)
    names: dict[tuple[float, int], str] = {}
    for tokens, seed, label in zip(points["tokens"], points["seed"], labels, strict=True):
        names[float(tokens), int(seed)] = f"{label} ({tokens:,.0f} tokens, seed {seed})".strip()
    return names


def _variants(lane: Lane, names: dict[tuple[float, int], str]) -> Iterator[tuple[str, str, Callable[[], Horizon]]]:
    cells, target, prior = lane.levels.cells, lane.target, lane.prior

    def solver(kept: Cells, goal: Target, exponent: Prior | None) -> Callable[[], Horizon]:
        def solve() -> Horizon:
            solved = solve_lane(kept, goal, exponent)
            return Horizon(solved.tokens, solved.status)

        return solve

    for step in ALPHA_STEPS:
        if (exponent := lane.exponent_in_use + step) > 0:
            yield "alpha", f"{exponent:.3f} ({step:+.1f})", solver(cells, target, Prior(exponent, HELD))
    for share in OFFSET_SHARES:
        moved = share * target.threshold
        goal = Target(target.threshold + moved, target.baseline_tokens, target.offset + moved)
        yield "offset", f"{moved:+.4f} bpb", solver(cells, goal, prior)
    index = np.arange(len(cells.losses))
    for at in index:
        name = names[float(cells.tokens[at]), cells.seeds[cells.seed_index[at]]]
        yield "point", f"without {name}", solver(cells.keeping(index != at), target, prior)
    if len(cells.seeds) > 1:
        for position, seed in enumerate(cells.seeds):
            yield "seed", f"without seed {seed}", solver(cells.keeping(cells.seed_index != position), target, prior)
    yield from _curve_variants(lane)


def _curve_variants(lane: Lane) -> Iterator[tuple[str, str, Callable[[], Horizon]]]:
    """Solved on the curve alone: its asymptote moved with the exponent fitted anew, and both estimators."""
    cells, goal = lane.levels.cells, lane.goal
    for share in ASYMPTOTE_SHARES:
        moved = lane.curve.asymptote * (1 + share)

        def held(moved: float = moved) -> Horizon:
            return solve_horizon(fit_cells(cells, None, lane.prior, asymptote_bounds=(moved, moved)), goal)

        yield "asymptote", f"L_inf {moved:.4f} ({share:+.0%}), curve alone", held
    yield "estimator", "least-squares curve", lambda: solve_horizon(lane.curve, goal)
    yield (
        "estimator",
        "log-sum-exp Huber curve",
        lambda: solve_horizon(fit_cells(cells, lane.curve.alpha, method="huber"), goal),
    )
