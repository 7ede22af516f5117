"""The threshold from results.csv."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from decided_runs import results
from hypothesis import given
from hypothesis import strategies as st

from laneb.decision import ThresholdError, threshold_from

GOOD = results((41, "ok", 0.93), (42, "ok", 0.91), (43, "ok", 0.925))


def threshold(frame: pd.DataFrame, **options: object):
    return threshold_from(frame, **({"seeds": [41, 42, 43], "offset": 0.02, "min_success": 3} | options))


def test_the_threshold_is_the_median_plus_the_offset_to_six_decimals() -> None:
    record = threshold(results((41, "ok", 0.93), (42, "ok", 0.91), (43, "ok", 0.9250004)), offset=0.02)
    assert record.median_min_val_bpb == 0.9250004
    assert record.recommended_target_threshold == 0.945
    assert record.successful_runs_count == 3
    assert record.required_seeds == ("41", "42", "43")
    assert [(run.seed, run.experiment_name) for run in record.successful_runs] == [
        ("41", "b0"),
        ("42", "b1"),
        ("43", "b2"),
    ]


def test_of_an_even_number_the_median_is_the_middle() -> None:
    assert threshold(GOOD, seeds=[41, 42], min_success=2, offset=0.0).recommended_target_threshold == 0.92


def test_only_required_seeds_count() -> None:
    frame = pd.concat([GOOD, results((99, "ok", 0.1))], ignore_index=True)
    assert threshold(frame).median_min_val_bpb == 0.925


def test_the_latest_row_of_a_seed_counts() -> None:
    frame = pd.concat([GOOD, results((42, "ok", 0.95))], ignore_index=True)
    assert threshold(frame).median_min_val_bpb == 0.93


@pytest.mark.parametrize(
    "latest", [(42, "failed_nan", 0.9), (42, "ok", math.nan), (42, "ok", ""), (42, "ok", math.inf)]
)
def test_an_older_good_row_does_not_hide_a_bad_latest_one(latest: tuple) -> None:
    frame = pd.concat([GOOD, results(latest)], ignore_index=True)
    with pytest.raises(ThresholdError, match=r"seed 42's latest row \(line 5\).*2 of 3.*41, 43.*baseline_runs"):
        threshold(frame)


def test_all_missing_seeds_are_named() -> None:
    with pytest.raises(ThresholdError, match="seed 41 has no row; seed 43 has no row"):
        threshold(results((42, "ok", 0.9)))


@pytest.mark.parametrize("offset", [-0.01, math.nan, math.inf])
def test_an_offset_that_is_negative_or_no_number_is_refused(offset: float) -> None:
    with pytest.raises(ThresholdError, match="offset"):
        threshold(GOOD, offset=offset)


def test_fewer_good_runs_than_needed_are_refused() -> None:
    with pytest.raises(ThresholdError, match="LANE_B_BASELINE_MIN_SUCCESS"):
        threshold(GOOD, min_success=4)


def test_what_is_not_a_results_file_is_refused() -> None:
    with pytest.raises(ThresholdError, match="no column min_val_bpb"):
        threshold(GOOD.drop(columns="min_val_bpb"))
    with pytest.raises(ThresholdError, match="line 2: seed 'x'"):
        threshold(results(("x", "ok", 1.0)))
    with pytest.raises(ThresholdError, match="metric 'accuracy'"):
        threshold(GOOD, metric="accuracy")


def test_seeds_written_as_text_count_too() -> None:
    assert threshold(GOOD.astype(str)).median_min_val_bpb == 0.925


@given(st.lists(st.floats(0.5, 3), min_size=3, max_size=3), st.floats(0, 1))
def test_a_constant_on_all_losses_moves_the_threshold_by_it(losses: list[float], constant: float) -> None:
    rows = [(seed, "ok", loss) for seed, loss in zip((41, 42, 43), losses, strict=True)]
    moved = [(seed, status, loss + constant) for seed, status, loss in rows]
    difference = (
        threshold(results(*moved)).recommended_target_threshold - threshold(results(*rows)).recommended_target_threshold
    )
    assert difference == pytest.approx(constant, abs=2e-6)
