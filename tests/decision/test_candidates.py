"""The planned candidates."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from laneb.decision import plan_candidates
from laneb.model.scaling import steps_for_ratio


def inference(**changes: object) -> SimpleNamespace:
    values = {"promotable": True, "inferred_target_param_data_ratio": 9.5, "confirmation_ratio": 9.975}
    return SimpleNamespace(**(values | changes))


def test_a_promotable_inference_trains_the_inferred_and_the_confirmation_ratio() -> None:
    planned = plan_candidates(inference(), seed=41, default_ratio=10.5)
    assert [tuple(candidate) for candidate in planned] == [
        ("laneb_inferred_s41", 41, "inferred", 9.5),
        ("laneb_confirmation_s41", 41, "confirmation", 9.975),
    ]


@pytest.mark.parametrize("changes", [{"promotable": False}, {"inferred_target_param_data_ratio": None}])
def test_any_other_trains_one_fallback_at_the_default_ratio(changes: dict) -> None:
    planned = plan_candidates(inference(**changes), seed=42, default_ratio=10.5)
    assert [tuple(candidate) for candidate in planned] == [("laneb_fallback_s42", 42, "fallback", 10.5)]


def test_a_ratio_becomes_whole_steps_rounded_down() -> None:
    assert steps_for_ratio(10.5, 110_101_632, 524_288) == 2205
    assert steps_for_ratio(1.0, 1000, 999) == 1


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 0.5])
def test_a_ratio_of_no_steps_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        steps_for_ratio(ratio, 1000, 999)
