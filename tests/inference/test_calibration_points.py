"""Calibration points from runs."""

from __future__ import annotations

import pytest
from simulated_lanes import BATCH, loss_at, run

from laneb.inference import CalibrationError, calibration_from


def test_a_point_is_a_finished_runs_tokens_and_lowest_loss_with_medians_per_horizon() -> None:
    runs = [
        run(steps, seed, final=loss_at(steps) + 0.01 * (seed - 41)) for steps in (1500, 750) for seed in (41, 42, 43)
    ]
    made = calibration_from(runs, required_seeds=[41, 42, 43])
    assert made.calib_tokens == (750 * BATCH, 1500 * BATCH)
    assert made.calib_metrics == (pytest.approx(loss_at(750) + 0.01), pytest.approx(loss_at(1500) + 0.01))
    assert made.iterations == (750, 1500)
    assert made.calib_tokens_csv == f"{750 * BATCH},{1500 * BATCH}"
    assert [float(text) for text in made.calib_metrics_csv.split(",")] == [
        pytest.approx(value, rel=1e-9) for value in made.calib_metrics
    ]
    assert len(made.points) == 6
    assert all(point.tokens == point.horizon_tokens for point in made.points)
    assert made.baseline_required_seeds == ("41", "42", "43")


def test_baselines_join_where_batch_shape_and_schedule_match() -> None:
    runs = [run(750, 42), run(2250, 42)]
    good, other_batch = run(1500, 41, run_id="b41"), run(1500, 43, total_batch_size=BATCH // 2, run_id="b43")
    other_schedule = run(1500, 44, warmdown_ratio=0.2, run_id="b44")
    failed = run(1500, 45, status="failed_nan", run_id="b45")
    made = calibration_from(runs, baselines=[good, other_batch, other_schedule, failed])
    assert [point.run_id for point in made.points] == ["calib_750_s42", "b41", "calib_2250_s42"]
    assert made.mode == "finished_runs_and_baselines"


def test_baselines_of_another_recipe_are_left_out_by_name_and_imported_ones_join_with_a_warning() -> None:
    runs = [run(750, 42, recipe="a"), run(2250, 42, recipe="a")]
    other = run(1500, 41, recipe="b", run_id="b41")
    imported = run(1500, 43, recipe="hash of its row", backend="imported", run_id="i43")
    made = calibration_from(runs, baselines=[other, imported])
    assert [point.run_id for point in made.points] == ["calib_750_s42", "i43", "calib_2250_s42"]
    assert [name for name in ("b41", "i43") for warning in made.warnings if name in warning] == ["b41", "i43"]
    assert calibration_from(runs, baselines=[run(1500, 41, recipe="a")]).warnings == ()


def test_a_run_that_is_a_baseline_too_counts_once() -> None:
    shared = run(1500, 42)
    made = calibration_from([run(750, 42), shared], baselines=[shared.model_copy(update={"run_id": "baseline_s42"})])
    assert len(made.points) == 2


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (run(1500, 42, status="failed_nan"), "calib_1500_s42.*failed_nan"),
        (run(1500, 42, val_curve=()), "never evaluated"),
        (run(1500, 42, val_curve=run(1500, 42).val_curve[:-1]), "not at its horizon"),
        (run(1500, 42, warmdown_ratio=0.1), "warmdown_ratio"),
        (run(1500, 42, total_batch_size=BATCH * 2), "total_batch_size"),
        (run(1500, 42, recipe="another"), "recipe"),
    ],
)
def test_a_run_that_is_no_point_is_named_and_refused(bad, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        calibration_from([run(750, 42), bad])


def test_no_runs_and_another_batch_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no calibration runs"):
        calibration_from([])
    with pytest.raises(CalibrationError, match="tokens per step"):
        calibration_from([run(750, 42)], total_batch_size=BATCH * 2)
