"""How the ratio moves when one thing is changed or left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from laneb.inference.horizon import solve_horizon
from laneb.inference.loss_curve import fit_loss_curve
from laneb.inference.ratio import RatioEstimate, infer_ratio
from laneb.records.inference import SensitivityRow

ALPHA_STEPS = (-0.2, -0.1, 0.1, 0.2)
ASYMPTOTE_SHARES = (-0.05, -0.02, 0.02, 0.05)
OFFSETS = (-0.01, -0.005, 0.005, 0.01)
"""Added to the threshold, as a share of it."""


def sensitivity_table(
    points: pd.DataFrame, estimate: RatioEstimate, *, threshold: float, n_scaling_params: int, alpha: float | None
) -> tuple[SensitivityRow, ...]:
    """One row per change of the exponent, asymptote or offset, per point and seed left out, and per other estimator.

    Args:
        points, threshold, n_scaling_params, alpha: what `infer_ratio` was given.
        estimate: its answer, which the rows are compared with.
    """
    rows: list[SensitivityRow] = []
    for what, change, frame, goal, exponent in _variants(points, estimate, threshold, alpha):
        try:
            other = infer_ratio(
                frame, threshold=goal, n_scaling_params=n_scaling_params, alpha=exponent, intervals=False
            )
            rows.append(_row(what, change, other.ratio, other.status, estimate))
        except ValueError as error:
            rows.append(_row(what, change, None, str(error).split(". ")[0], estimate))
    rows += _curve_rows(points, estimate, threshold, n_scaling_params)
    return tuple(rows)


def _variants(
    points: pd.DataFrame, estimate: RatioEstimate, threshold: float, alpha: float | None
) -> Iterator[tuple[str, str, pd.DataFrame, float, float | None]]:
    for step in ALPHA_STEPS:
        if (exponent := estimate.alpha + step) > 0:
            yield "alpha", f"{exponent:.3f} ({step:+.1f})", points, threshold, exponent
    for share in OFFSETS:
        yield "offset", f"{share * threshold:+.4f} bpb", points, threshold * (1 + share), alpha
    names = points["run_id"] if "run_id" in points.columns else points.index.astype(str)
    for position, name in enumerate(names):
        label = f"without {name} ({points['tokens'].iloc[position]:,.0f} tokens, seed {points['seed'].iloc[position]})"
        yield "point", label, points[np.arange(len(points)) != position], threshold, alpha
    seeds = sorted(set(points["seed"]))
    for seed in seeds if len(seeds) > 1 else ():
        yield "seed", f"without seed {seed}", points[points["seed"] != seed], threshold, alpha


def _curve_rows(
    points: pd.DataFrame, estimate: RatioEstimate, threshold: float, n_scaling_params: int
) -> list[SensitivityRow]:
    """Solved on the curve alone: its asymptote moved, and the Huber fit."""
    rows = []
    frame = points.groupby(["tokens", "seed"], sort=True)["loss"].mean().reset_index()
    seeds = frame["seed"].tolist() if estimate.curve.seed_effects else None
    if seeds is None:
        frame = frame.groupby("tokens", sort=True)["loss"].mean().reset_index()
    exponent = None if estimate.curve.alpha_fitted else estimate.alpha
    for share in ASYMPTOTE_SHARES:
        moved = estimate.curve.asymptote * (1 + share)
        change = f"L_inf {moved:.4f} ({share:+.0%}), curve alone"
        try:
            # The exponent is fitted anew, as far as it is free, so that only the asymptote is held.
            curve = fit_loss_curve(
                frame["tokens"], frame["loss"], exponent, seeds=seeds, asymptote_bounds=(moved, moved)
            )
        except ValueError as error:
            rows.append(_row("asymptote", change, None, str(error), estimate))
            continue
        horizon = solve_horizon(curve, threshold)
        ratio = None if horizon.tokens is None else horizon.tokens / n_scaling_params
        rows.append(_row("asymptote", change, ratio, horizon.status, estimate))
    try:
        robust = fit_loss_curve(frame["tokens"], frame["loss"], exponent, seeds=seeds, method="huber")
    except ValueError as error:
        return [*rows, _row("estimator", "log-sum-exp Huber curve", None, str(error), estimate)]
    for change, curve in (("least-squares curve", estimate.curve), ("log-sum-exp Huber curve", robust)):
        horizon = solve_horizon(curve, threshold)
        ratio = None if horizon.tokens is None else horizon.tokens / n_scaling_params
        rows.append(_row("estimator", change, ratio, horizon.status, estimate))
    return rows


def _row(what: str, change: str, ratio: float | None, status: str, estimate: RatioEstimate) -> SensitivityRow:
    relative = None if ratio is None or not estimate.ratio else ratio / estimate.ratio - 1
    return SensitivityRow.model_validate(
        {"what": what, "change": change, "ratio": ratio, "relative_change": relative, "status": status}
    )
