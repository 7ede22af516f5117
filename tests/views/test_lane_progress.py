"""What `laneb run` shows in a window of 80 columns."""

import io
import os
from dataclasses import replace

import pytest
from rich.console import Console

from laneb.settings import load_settings
from laneb.training.progress import Progress
from laneb_assets.views.lane_progress import LaneProgress
from laneb_assets.views.terminal import Terminal

LANE = LaneProgress({"d1_i100_s41": 100, "d1_i200_s41": 200}, candidates=2, candidate_steps=300)


def test_a_lane_counts_each_run_once(lane) -> None:
    settings = load_settings(str(lane.profile))
    made = LaneProgress.of(settings)
    # Two seeds of baselines, which are the calibration's runs of 12 steps, and of two further horizons.
    assert sorted(made.known.values()) == [6, 6, 12, 12, 18, 18]
    assert made.candidates == 2 * len(settings.candidates.run_seeds)
    assert made.place(set(list(made.known)[:3])) == f"4 of {6 + made.candidates}"


def test_runs_of_earlier_settings_are_not_the_lanes(tmp_path) -> None:
    def ends(run: str, at: float) -> None:
        (tmp_path / run).mkdir()
        (tmp_path / run / "result.json").touch()
        os.utime(tmp_path / run / "result.json", (at, at))

    made = replace(LANE, inference=tmp_path / "infer.json")
    for run, at in (("d1_i100_s41", 10.0), ("d1_i500_s41", 12.0), ("d1_i200_s41.aaaa.attempt-1", 12.0)):
        ends(run, at)
    assert made.finished(tmp_path) == {"d1_i100_s41"}
    ends("d1_i200_s41", 11.0)
    assert made.finished(tmp_path) == set(LANE.known)
    made.inference.touch()
    os.utime(made.inference, (20.0, 20.0))
    ends("d1_i240_s41", 21.0)
    assert made.finished(tmp_path) == {*LANE.known, "d1_i240_s41"}


def test_the_time_left_is_that_of_the_steps_to_come_at_the_pace_of_now() -> None:
    halfway = Progress("step", step=50, steps=100, eta_sec=5.0)
    assert LANE.seconds_left("d1_i100_s41", halfway, set()) == pytest.approx(5 + 0.1 * (200 + 2 * 300))
    assert LANE.seconds_left("d1_i250_s41", halfway, set(LANE.known)) == pytest.approx(5 + 0.1 * 300)
    assert LANE.seconds_left("d1_i250_s41", halfway, {*LANE.known, "d1_i240_s41"}) == pytest.approx(5)
    assert LANE.seconds_left("d1_i100_s41", Progress("start", steps=100), set()) is None
    assert LANE.note("d1_i100_s41", halfway, set()).startswith("run 1 of 4; lane: about 85 s left; step 50 of 100")


def test_no_word_is_broken_at_80_columns(tmp_path) -> None:
    screen = io.StringIO()
    terminal = Terminal(tmp_path / "log", tmp_path, LANE)
    terminal.console = Console(file=screen, force_terminal=True, width=80, highlight=False, soft_wrap=True)
    numbers = "min_val_bpb 6.39407, final_val_bpb 6.39407, steps 6, tokens 768"
    check = "entropy_is_measured: 5 of 5 context lengths of the entropy fit are bracketed too widely to say anything"
    terminal.line("v", "calibration_runs [2250|42]", 3.7, numbers)
    terminal.line("!", "", 0, check)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    assert words == ["v", "calibration_runs", "[2250|42]", "3.7", "s", *numbers.split(), "!", *check.split()]
