"""What of the analysis is behind, told by the records alone."""

import pytest

from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.report.behind import behind_sentence
from laneb.storage.roles import baseline_runs, calibration_runs


@pytest.fixture(scope="module")
def asked(simulated_once):
    """The question, of a finished lane: with some of its settings as they would be by now, or other runs."""
    store = simulated_once.store
    experiment, inference = store.read(Experiment), store.read(Inference)
    baselines, calibration = baseline_runs(store, experiment), calibration_runs(store, experiment)

    def ask(section: str = "threshold", *, baselines=baselines, calibration=calibration, **knobs: object) -> str:
        moved = getattr(experiment, section).model_copy(update=knobs)
        now = experiment.model_copy(update={section: moved})
        return behind_sentence(store, now, inference, baselines, calibration)

    return ask, baselines, calibration


def test_a_finished_lane_is_behind_nothing(asked) -> None:
    ask, *_ = asked
    assert ask() == ""


def test_another_offset_metric_or_seed_is_named_with_what_it_was(asked) -> None:
    ask, *_ = asked
    assert "baseline_threshold (offset 0.02, now 0.03). Materialize " in ask(threshold_offset=0.03)
    assert "baseline_threshold (metric val_bpb, now other)" in ask(target_metric="other")
    assert ask("baseline", seeds=(41, 42)).count("baseline seeds 41,42,43, now 41,42") == 3


def test_a_threshold_that_was_set_since_leaves_the_ratio_behind(asked) -> None:
    ask, *_ = asked
    assert ask(target_threshold=0.9545 + 1e-7) == "", "thresholds are rounded"
    assert "ratio_inference (threshold 0.954500, now 0.960000)" in ask(target_threshold=0.96)


def test_a_baseline_or_calibration_run_that_was_made_again_is_seen(asked) -> None:
    ask, baselines, calibration = asked
    first, *others = baselines
    curve = tuple(point._replace(bpb=point.bpb - 0.1) for point in first.val_curve)
    again = first.model_copy(update={"val_curve": curve})
    said = f"baseline_threshold (bpb of baseline {first.seed} {first.min_val_bpb:.6f}, now {again.min_val_bpb:.6f})"
    assert said in ask(baselines=[again, *others])
    assert "calibration_points (made of 4 calibration runs, now 3 others)" in ask(calibration=calibration[1:])
