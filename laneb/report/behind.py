"""Which steps of the analysis are behind what they are made of, as the records themselves tell it.

Dagster knows it too, by its materializations; but a report is made of records alone, wherever these lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from laneb.decision.threshold import target_threshold
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration

if TYPE_CHECKING:
    from laneb.records.experiment import Experiment
    from laneb.records.inference import Inference
    from laneb.records.runs import RunResult
    from laneb.storage.store import Store

ROUNDING = 5e-7
"""Thresholds are rounded to six digits [bpb]."""

Compared = tuple[str, str, str]
"""What is compared, what it was when a record was made, and what it is by now."""


def behind_sentence(
    store: Store,
    experiment: Experiment,
    inference: Inference,
    baselines: Sequence[RunResult],
    calibration: Sequence[RunResult],
) -> str:
    """What of threshold, calibration points and inference was made of other settings or runs than hold now; empty where
    nothing was.

    Args:
        store: where the records lie.
        experiment: the settings that hold.
        inference: the one that candidates are judged by.
        baselines: the runs of the baseline seeds.
        calibration: those of the calibration that are there.

    Raises:
        StorageError: a record isn't there, or is damaged.
    """
    threshold, points = store.read(BaselineThreshold), store.read(Calibration)
    found = {
        "baseline_threshold": _moved(_threshold(threshold, experiment, baselines)),
        "calibration_points": _moved(_points(points, experiment, calibration)),
        "ratio_inference": _moved(_inference(inference, threshold, experiment)),
    }
    if not (behind := {name: moved for name, moved in found.items() if moved}):
        return ""
    return (
        f"behind what they are made of: {', '.join(f'{name} ({moved})' for name, moved in behind.items())}. "
        "Materialize baseline_results and all that follows (or run: laneb run)."
    )


def _threshold(
    threshold: BaselineThreshold, experiment: Experiment, baselines: Sequence[RunResult]
) -> Iterable[Compared]:
    knobs = experiment.threshold
    yield _seeds(threshold.required_seeds, experiment)
    yield "offset", f"{threshold.threshold_offset:g}", f"{knobs.threshold_offset:g}"
    yield "metric", threshold.target_metric_name, knobs.target_metric
    if experiment.baseline.source == "runs":
        then = {run.seed: f"{run.min_val_bpb:.6f}" for run in threshold.successful_runs}
        for run in baselines:
            now = "none" if run.min_val_bpb is None else f"{run.min_val_bpb:.6f}"
            yield f"bpb of baseline {run.seed}", then.get(str(run.seed), now), now


def _points(points: Calibration, experiment: Experiment, runs: Sequence[RunResult]) -> Iterable[Compared]:
    yield _seeds(points.baseline_required_seeds, experiment)
    # Points of earlier versions don't know their runs.
    if points.run_versions and points.run_versions != tuple(run.content_hash() for run in runs):
        yield "made of", f"{len(points.run_versions)} calibration runs", f"{len(runs)} others"


def _inference(inference: Inference, threshold: BaselineThreshold, experiment: Experiment) -> Iterable[Compared]:
    yield _seeds(inference.baseline_required_seeds, experiment)
    now, _ = target_threshold(threshold, experiment.threshold.target_threshold)
    if not math.isclose(now, inference.target_metric_threshold, abs_tol=ROUNDING):
        yield "threshold", f"{inference.target_metric_threshold:.6f}", f"{now:.6f}"


def _seeds(then: Sequence[str], experiment: Experiment) -> Compared:
    return "baseline seeds", ",".join(then), ",".join(map(str, experiment.baseline.seeds))


def _moved(compared: Iterable[Compared]) -> str:
    return "; ".join(f"{what} {then}, now {now}" for what, then, now in compared if then != now)
