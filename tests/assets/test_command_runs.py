"""`laneb run` and `laneb import` on a finished lane: what is kept, repeated on purpose, or taken over."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_run_repeated_on_purpose_is_trained_again_and_the_earlier_attempt_is_kept(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    done = lane.laneb("run", "--force", "baseline_runs:41")
    assert done.returncode == 0, done.stderr
    assert "trained 1 run," in done.stdout
    kept = lane.store.read_run("baseline_s41", "")
    assert kept.attempt == 2
    runs = lane.settings.locations.runs_dir
    earlier = runs / f"{kept.run_id}.{kept.fingerprint}.attempt-1"
    assert json.loads((earlier / "result.json").read_text())["attempt"] == 1
    assert json.loads((runs / kept.run_id / "result.json").read_text())["attempt"] == 2
    # A simulated run takes the seconds of its surface, so nothing that is made from it has changed.
    again = lane.laneb("run", "--work-dir", str(lane.settings.locations.work_dir))
    assert "nothing to train" in again.stdout
    assert f"see it in Dagster: LANE_B_WORK_DIR={lane.settings.locations.work_dir} laneb ui, " in again.stdout


def test_what_can_not_be_repeated_is_refused_with_what_can(finished_simulated_lane) -> None:
    wishes = ("baseline_runs:9", "baselines", ":41")
    done = finished_simulated_lane.laneb("run", *(word for wish in wishes for word in ("--force", wish)))
    assert done.returncode == 2
    assert "--force baseline_runs:9: baseline_runs has the partitions 41, 42" in done.stderr
    assert "--force baselines: there is no asset 'baselines', but baseline_results, " in done.stderr
    assert "--force :41: there is no asset ''" in done.stderr
    assert "Traceback" not in done.stderr


def test_set_is_kept_until_reset_and_the_environment_beats_it(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    assert lane.laneb("run", "--set", "data.corpus=/nowhere").returncode == 2
    assert lane.settings.overrides == {}
    assert lane.laneb("run", "--set", "automation").returncode == 2
    assert lane.laneb("run", "--set", "depth=7", LANE_B_DEPTH="1").returncode == 2
    # A knob that nothing is made from.
    assert lane.laneb("run", "--set", "automation=analysis").returncode == 0
    assert lane.settings.automation.automation == "analysis"
    said = lane.laneb("doctor", LANE_B_AUTOMATION="off").stdout
    assert re.search(r"automation\s+off\s+environment", said), said
    reset = lane.laneb("run", "--reset", "--profile", str(lane.profile))
    assert reset.returncode == 0
    assert f"see it in Dagster: laneb ui --profile {lane.profile}, " in reset.stdout
    assert lane.settings.automation.automation == "all"


def test_imported_results_are_the_baselines_until_reset_and_are_never_written(finished_simulated_lane, tmp_path: Path):
    lane = finished_simulated_lane
    trained = lane.store.read_run("baseline_s41", "").backend
    elsewhere = tmp_path / "results"
    shutil.copytree(lane.settings.locations.baseline_results_dir, elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    assert lane.laneb("import", str(tmp_path / "nowhere")).returncode == 2
    done = lane.laneb("import", str(elsewhere))
    assert done.returncode == 0, done.stderr
    assert lane.settings.baseline.source == "directory"
    again = lane.laneb("run")
    assert again.returncode == 0, again.stderr
    assert "baseline_runs" not in again.stdout
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before
    # They never pass for baselines trained here.
    assert lane.laneb("run", "--reset").returncode == 0
    assert lane.settings.baseline.source == "runs"
    assert lane.store.read_run("baseline_s41", "").backend == trained
