"""Which points may stand for finished runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARED = ("warmdown_ratio", "warmdown_shape", "depth", "max_seq_len", "total_batch_size", "n_scaling_params", "recipe")


class PointsError(ValueError):
    """The points are not finals of finished runs of one kind; the message says which and what to do."""


def checked_points(points: pd.DataFrame) -> pd.DataFrame:
    """Columns tokens (float), loss (float) and seed (int) of points that are finals of runs of one kind.

    Raises:
        PointsError: a missing column, a value that is not a number, tokens that are not positive, a point inside its
            run, two points of one run, mixed schedules or shapes.
    """
    if not isinstance(points, pd.DataFrame):
        raise PointsError(f"points are a DataFrame with columns tokens, loss and seed, not a {type(points).__name__}")
    absent = [name for name in ("tokens", "loss", "seed") if name not in points.columns]
    if absent:
        raise PointsError(f"points have no column {', '.join(absent)}; they need tokens, loss and seed")
    try:
        clean: pd.DataFrame = pd.DataFrame(
            {name: np.asarray(points[name], dtype=np.float64) for name in ("tokens", "loss", "seed")}
        )
    except (TypeError, ValueError) as error:
        raise PointsError(f"tokens, loss and seed are numbers: {error}") from error
    if len(clean) < 2:
        raise PointsError(f"{len(clean)} point(s); a ratio takes finished runs at 2 horizons or more")
    for name in clean:
        bad = np.flatnonzero(~np.isfinite(clean[name].to_numpy()))
        if len(bad):
            raise PointsError(
                f"point {bad[0] + 1} has {name} {clean[name].iloc[bad[0]]}; every point is a finite number"
            )
    if (clean["tokens"] <= 0).any():
        raise PointsError(f"token counts are positive; there is {clean['tokens'].min():g}")
    if (clean["seed"] != np.round(clean["seed"])).any():
        raise PointsError("seeds are integers")
    _refuse_within_run(points, clean)
    for name in SHARED:
        if name in points.columns and points[name].nunique(dropna=False) > 1:
            values = ", ".join(str(value) for value in points[name].unique())
            raise PointsError(
                f"points differ in {name} ({values}), so they do not lie on one loss curve. Rerun with one value."
            )
    clean["seed"] = clean["seed"].astype(np.int64)
    return clean


def _refuse_within_run(points: pd.DataFrame, clean: pd.DataFrame) -> None:
    if "horizon_tokens" in points.columns:
        horizon = np.asarray(points["horizon_tokens"], dtype=np.float64)
        inside = np.flatnonzero(~np.isclose(horizon, clean["tokens"], rtol=1e-9, atol=0.5))
        if len(inside):
            at = int(inside[0])
            name = f" ({points['run_id'].iloc[at]})" if "run_id" in points.columns else ""
            raise PointsError(
                f"point {at + 1}{name} was taken at {clean['tokens'].iloc[at]:,.0f} tokens of a run with a horizon of "
                f"{horizon[at]:,.0f}: a within-run point has not warmed down, so it is not on the loss curve. "
                f"Use the finals of finished runs only."
            )
    if "run_id" in points.columns:
        counts = points.assign(_tokens=clean["tokens"]).groupby("run_id")["_tokens"].agg(["size", "nunique"])
        twice = counts[counts["size"] > 1]
        if len(twice):
            raise PointsError(
                f"run {twice.index[0]} has {int(twice['size'].iloc[0])} points: within-run points are not on the loss "
                f"curve. Use its final only."
            )
