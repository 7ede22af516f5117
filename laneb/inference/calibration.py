"""The calibration points: one final per finished run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from laneb.records.base import utc_now
from laneb.records.calibration import Calibration, CalibrationPoint
from laneb.records.runs import RunResult

if TYPE_CHECKING:
    import pandas as pd

SHAPE_AND_SCHEDULE = (
    "depth",
    "max_seq_len",
    "n_scaling_params",
    "total_batch_size",
    "warmdown_ratio",
    "warmdown_shape",
)
"""What two runs must share, beside the recipe, for their finals to lie on one loss curve."""


class CalibrationError(ValueError):
    """The runs can't be calibration points; the message names which and what to do."""


def calibration_from(
    runs: Sequence[RunResult],
    *,
    baselines: Sequence[RunResult] = (),
    total_batch_size: int | None = None,
    required_seeds: Sequence[int] = (),
) -> Calibration:
    """The finals of finished runs, and per horizon their median over seeds.

    A point's tokens are `steps * total_batch_size`, its loss the lowest validation bpb of the run, the same quantity
    that the threshold is taken from. Baselines join where batch, shape, schedule and recipe are those of the
    calibration runs; a run that is a baseline too (equal fingerprint) counts once.

    Args:
        runs: the calibration runs, all finished.
        baselines: baseline runs; the failed and those of another batch, shape or schedule are left out, and those of
            another recipe too, which `warnings` names; imported ones that tell no recipe join with a warning.
        total_batch_size: tokens per step that the runs must have; None: that of the first run.
        required_seeds: the baseline seeds, for the record.

    Raises:
        CalibrationError: no run, a run that failed or did not reach its horizon, or runs of different batch, shape,
            schedule or recipe among the calibration runs (each named with its value).
    """
    if not runs:
        raise CalibrationError("there are no calibration runs. Materialize calibration_runs, or run: laneb run")
    for run in runs:
        if problem := unfinished_reason(run):
            raise CalibrationError(
                f"calibration run {run.run_id} (seed {run.seed}, {run.steps} steps) {problem}. Only finished runs are "
                f"points of the loss curve: rerun it (materialize its calibration_runs partition), or take its horizon "
                f"out of LANE_B_CALIB_ITERS."
            )
    _refuse_mixed(runs)
    batch = runs[0].total_batch_size if total_batch_size is None else total_batch_size
    if runs[0].total_batch_size != batch:
        raise CalibrationError(
            f"calibration run {runs[0].run_id} trained on {runs[0].total_batch_size:,} tokens per step, not {batch:,}. "
            f"Rerun it at the batch of the experiment."
        )
    joined, warnings = _joining(runs[0], baselines)
    points = _points([*runs, *joined])
    by_horizon: dict[int, list[float]] = defaultdict(list)
    for point in points:
        by_horizon[point.tokens].append(point.loss)
    tokens = tuple(sorted(by_horizon))
    metrics = tuple(median(by_horizon[count]) for count in tokens)
    return Calibration(
        timestamp_utc=utc_now(),
        iterations=tuple(count // batch for count in tokens),
        total_batch_size=batch,
        calib_tokens=tokens,
        calib_metrics=metrics,
        calib_tokens_csv=",".join(str(count) for count in tokens),
        calib_metrics_csv=",".join(f"{value:.10g}" for value in metrics),
        mode="finished_runs_and_baselines" if joined else "finished_runs",
        baseline_required_seeds=tuple(str(seed) for seed in required_seeds),
        points=tuple(points),
        warnings=warnings,
    )


def _joining(run: RunResult, baselines: Sequence[RunResult]) -> tuple[list[RunResult], tuple[str, ...]]:
    """The baselines whose finals lie on the loss curve of `run`, and what to say of the others, by name."""
    alike = [
        other
        for other in baselines
        if not unfinished_reason(other) and shape_and_schedule(other) == shape_and_schedule(run)
    ]
    joined = [other for other in alike if other.recipe == run.recipe or not other.recipe_known]
    others = [other.run_id for other in alike if other not in joined]
    unknown = [other.run_id for other in joined if other.recipe != run.recipe]
    warnings = []
    if others:
        warnings.append(
            f"{', '.join(others)}: another recipe (settings, corpus or code) than the calibration runs', so their "
            f"finals are left out of the loss curve. Rerun them for the same recipe to let them join."
        )
    if unknown:
        warnings.append(
            f"{', '.join(unknown)}: imported without a recipe, so whether their finals lie on the calibration runs' "
            f"loss curve can't be checked. They join it."
        )
    return joined, tuple(warnings)


def unfinished_reason(run: RunResult) -> str:
    """Why a run is not a finished one; empty when it is."""
    if run.status != "ok":
        return f"is {run.status}"
    if run.min_val_bpb is None:
        return "was never evaluated"
    last = run.val_curve[-1].step
    if last < run.steps:
        return f"was last evaluated at step {last}, not at its horizon"
    return ""


def finals_of(calibration: Calibration) -> pd.DataFrame:
    """The points as the frame that `infer_ratio` takes: run_id, seed, horizon_tokens, tokens, loss."""
    import pandas as pd

    frame: pd.DataFrame = pd.DataFrame([point.model_dump() for point in calibration.points])
    return frame


def _points(runs: Sequence[RunResult]) -> list[CalibrationPoint]:
    seen: dict[str, CalibrationPoint] = {}
    for run in runs:
        loss = run.min_val_bpb
        if loss is not None and run.fingerprint not in seen:
            seen[run.fingerprint] = CalibrationPoint(
                run_id=run.run_id, seed=run.seed, horizon_tokens=run.tokens, tokens=run.tokens, loss=loss
            )
    return sorted(seen.values(), key=lambda point: (point.tokens, point.seed, point.run_id))


def shape_and_schedule(run: RunResult) -> tuple[object, ...]:
    """What runs on one loss curve have in common beside their recipe."""
    return tuple(getattr(run, name) for name in SHAPE_AND_SCHEDULE)


def kind_of(run: RunResult) -> tuple[object, ...]:
    """What runs on one loss curve have in common."""
    return (*shape_and_schedule(run), run.recipe)


def _refuse_mixed(runs: Sequence[RunResult]) -> None:
    for name in (*SHAPE_AND_SCHEDULE, "recipe"):
        by_value: dict[object, list[str]] = defaultdict(list)
        for run in runs:
            by_value[getattr(run, name)].append(run.run_id)
        if len(by_value) > 1:
            shown = "; ".join(f"{value}: {', '.join(names)}" for value, names in by_value.items())
            raise CalibrationError(
                f"calibration runs differ in {name} ({shown}), so their finals are not points of one loss curve. "
                f"Rerun them with one value."
            )
