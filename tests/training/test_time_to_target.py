import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneb.records.runs import ValidationPoint
from laneb.training.time_to_target import time_to_target


def curve(*points: tuple[int, float, float]) -> list[ValidationPoint]:
    return [ValidationPoint(*point) for point in points]


def power_curve(times: list[float], asymptote: float, amplitude: float, alpha: float) -> list[ValidationPoint]:
    return curve(*((10 * (i + 1), t, asymptote + amplitude * t**-alpha) for i, t in enumerate(times)))


FALLING = curve((0, 0.0, 3.0), (100, 10.0, 2.0), (200, 20.0, 1.5), (300, 30.0, 1.25))


def test_the_measured_time_is_that_of_the_first_evaluation_at_or_below_the_threshold():
    target = time_to_target(FALLING, 1.5)
    assert (target.measured_sec, target.measured_step) == (20.0, 200)
    assert target.reached and target.method is None and target.reason is None and target.extrapolated_sec is None


def test_the_crossing_is_interpolated_on_the_line_from_the_evaluation_before():
    target = time_to_target(FALLING, 1.75)
    assert target.measured_step == 200
    assert target.interpolated_sec == pytest.approx(15.0)
    assert target.interpolated_step == pytest.approx(150.0)


def test_a_curve_that_begins_below_the_threshold_crosses_at_its_first_point():
    target = time_to_target(FALLING, 5.0)
    assert (target.measured_sec, target.interpolated_sec, target.interpolated_step) == (0.0, 0.0, 0.0)


def test_a_later_rise_above_the_threshold_does_not_undo_the_crossing():
    assert time_to_target([*FALLING, ValidationPoint(400, 40.0, 1.6)], 1.5).measured_step == 200


def test_the_linear_time_follows_the_least_squares_slope_from_the_last_point():
    # Slope through (10, 2), (20, 1.5), (30, 1.25) is -0.0375 bpb/s.
    target = time_to_target(FALLING, 1.0)
    assert target.extrapolated_sec == pytest.approx(30 + 0.25 / 0.0375)
    assert target.method == "linear_recent_eval" and not target.reached


def test_two_points_are_enough_for_a_line():
    assert time_to_target(FALLING[:2], 1.0).extrapolated_sec == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([], "insufficient_points"),
        (FALLING[:1], "insufficient_points"),
        (curve((1, 5.0, 2.0), (2, 5.0, 1.9)), "degenerate_time_axis"),
        (curve((1, 1.0, 2.0), (2, 2.0, 2.0)), "non_improving_slope"),
        (curve((1, 1.0, 2.0), (2, 2.0, 2.5)), "non_improving_slope"),
    ],
)
def test_why_a_line_gives_no_time_is_named(points, reason):
    target = time_to_target(points, 1.0)
    assert (target.reason, target.extrapolated_sec) == (reason, None)


def test_the_power_law_recovers_the_time_of_an_exact_curve():
    points = power_curve([10, 20, 30, 40, 50], 0.8, 3.0, 0.6)
    exact = (3.0 / (0.95 - 0.8)) ** (1 / 0.6)
    target = time_to_target(points, 0.95, method="power_law_recent_eval")
    assert target.extrapolated_sec == pytest.approx(exact, rel=1e-4)
    assert target.method == "power_law_recent_eval"
    fixed = time_to_target(points, 0.95, method="power_law_recent_eval", power_law_alpha=0.6)
    assert fixed.extrapolated_sec == pytest.approx(exact, rel=1e-9)


def test_the_power_law_uses_only_the_latest_points():
    early_noise = curve((1, 1.0, 9.0), (2, 2.0, 1.6), (3, 3.0, 8.0))
    points = power_curve([10, 20, 30, 40, 50], 0.8, 3.0, 0.6)
    alone = time_to_target(points, 0.95, method="power_law_recent_eval")
    assert time_to_target([*early_noise, *points], 0.95, method="power_law_recent_eval") == alone


EXACT = power_curve([10, 20, 30, 40, 50], 0.8, 3.0, 0.6)


@pytest.mark.parametrize(
    ("points", "threshold", "options", "reason"),
    [
        (EXACT, 0.95, {"power_law_alpha": -1.0}, "invalid_alpha"),
        (EXACT, 0.95, {"power_law_min_points": 5, "power_law_max_points": 4}, "invalid_point_window"),
        (EXACT[:2], 0.95, {}, "insufficient_points"),
        ([ValidationPoint(0, 0.0, 9.0), *EXACT[:2]], 0.95, {}, "insufficient_positive_time_points"),
        (curve((1, 5.0, 2.0), (2, 5.0, 1.9), (3, 5.0, 1.8)), 0.95, {}, "degenerate_feature_axis"),
        (curve((1, 1.0, 2.0), (2, 2.0, 2.1), (3, 3.0, 2.2)), 0.95, {}, "non_positive_power_coeff"),
        (
            curve((1, 1.0, 2.0), (2, 2.0, 1.5), (3, 3.0, 1.9)),
            0.95,
            {"power_law_fit_r2_min": 0.99},
            "low_power_law_fit_r2",
        ),
        (EXACT, 0.7, {}, "threshold_not_above_asymptote"),
        (curve((1, 1.0, 2.0), (2, 2.0, 1.0), (3, 3.0, 1.2), (4, 4.0, 1.1)), 0.99, {}, "threshold_not_above_asymptote"),
    ],
)
def test_why_a_power_law_gives_no_time_is_named(points, threshold, options, reason):
    target = time_to_target(points, threshold, method="power_law_recent_eval", **options)
    assert (target.reason, target.extrapolated_sec) == (reason, None)


def test_an_evaluation_that_is_not_finite_is_passed_over():
    target = time_to_target([*FALLING[:2], ValidationPoint(150, 15.0, math.nan), *FALLING[2:]], 1.75)
    assert target.interpolated_step == pytest.approx(150.0)


def test_a_threshold_that_is_no_number_and_an_unknown_method_are_refused():
    with pytest.raises(ValueError, match="threshold nan"):
        time_to_target(FALLING, math.nan)
    with pytest.raises(ValueError, match="linear_recent_eval, power_law_recent_eval"):
        time_to_target(FALLING, 1.0, method="spline")


finite = st.floats(-1e12, 1e12, allow_nan=False)
anything = st.builds(
    ValidationPoint, st.integers(0, 10**9), st.floats(0) | st.just(math.nan), st.floats(allow_nan=True)
)
REASONS = {
    "insufficient_points", "degenerate_time_axis", "non_improving_slope", "target_crossed_in_past", "invalid_alpha",
    "invalid_point_window", "insufficient_positive_time_points", "degenerate_feature_axis", "low_power_law_fit_r2",
    "non_positive_power_coeff", "threshold_not_above_asymptote", "non_positive_ratio_inside_power",
    "non_finite_target_time",
}  # fmt: skip


@given(st.lists(anything, max_size=8), finite, st.sampled_from(["linear_recent_eval", "power_law_recent_eval"]))
def test_any_curve_gives_a_finite_time_or_a_known_reason(points, threshold, method):
    target = time_to_target(points, threshold, method=method)
    if target.reached:
        assert target.reason is None and math.isfinite(target.measured_sec)
    elif target.reason is None:
        finite_points = [point for point in points if all(map(math.isfinite, point))]
        assert math.isfinite(target.extrapolated_sec)
        assert target.extrapolated_sec >= finite_points[-1].seconds
    else:
        assert target.reason in REASONS and target.extrapolated_sec is None
