"""Which attempt of a run a partition asks for."""

import pytest

from laneb.plan import planned_runs
from laneb.records.runs import RunResult
from laneb.settings import load_settings
from laneb.training.run_directory import told_by
from laneb_assets.resources import wanted_attempt

SPEC = planned_runs(load_settings("tiny", environ={}, overrides={}))[0].spec


def result(attempt: int, status: str = "ok") -> RunResult:
    unknown = dict.fromkeys(
        (
            "final_train_loss",
            "tok_per_sec_median",
            "dt_median_ms",
            "total_training_time_sec",
            "wall_time_sec",
            "peak_mem_mib",
        )
    )
    made = {
        "timestamp_utc": "",
        "steps": SPEC.steps,
        "status": status,
        "val_curve": (),
        "device": "",
        "attempt": attempt,
    }
    return RunResult.model_validate({**told_by(SPEC), **unknown, **made})


@pytest.mark.parametrize(
    ("finished", "kept", "repeat", "wanted"),
    [
        (None, None, False, (1, False)),
        (None, None, True, (1, False)),
        (result(1), None, False, (1, True)),
        (result(2), result(1), False, (1, True)),
        (result(1), None, True, (2, False)),
        (result(1), result(1), True, (2, False)),
        # The run's other role has repeated it: that one is taken, not trained once more.
        (result(2), result(1), True, (2, True)),
        (result(1, "failed_nan"), result(1, "failed_nan"), False, (2, False)),
        (result(2), result(1, "failed_nan"), False, (2, True)),
        (None, result(1, "failed_nan"), False, (2, False)),
        # A NaN that another role has seen is this role's too, until it asks again.
        (result(1, "failed_nan"), None, False, (1, True)),
    ],
)
def test_a_run_is_repeated_once_for_all_its_roles(finished, kept, repeat, wanted) -> None:
    spec, found = wanted_attempt(SPEC, finished, kept, repeat=repeat)
    assert (spec.attempt, found) == wanted
    assert spec.fingerprint == SPEC.fingerprint
