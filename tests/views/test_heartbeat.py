"""A run's heartbeat: what its events say, when it is worth saying, and that Dagster's partition shows it."""

import json

import dagster as dg
import pytest

from laneb.training.progress import Follower, Progress, read_progress
from laneb_assets.automation.staleness import Staleness
from laneb_assets.views.heartbeat import BEAT_SECONDS, Beats


class Run:
    """A run directory that somebody writes events to."""

    def __init__(self, folder) -> None:
        self.dir = folder / "d1_i100_s41"
        self.dir.mkdir()
        self.events = self.dir / "events.jsonl"

    def says(self, event: str, **facts: object) -> None:
        with self.events.open("a") as file:
            file.write(json.dumps({"event": event, **facts}) + "\n")


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def test_progress_is_what_the_run_said_last(run) -> None:
    run.says("start", step=0, steps=100)
    run.says("step", step=10, steps=100, loss=3.5, tok_per_sec=1000.0, mfu_percent=12.0, memory_mib=200.0, eta_sec=9.0)
    run.says("evaluation", step=10, bpb=1.25, seconds=1.0)
    run.events.open("a").write('{"event": "step", "step": 2')
    progress = read_progress(run.dir)
    assert progress.sentence() == "step 10 of 100, loss 3.500, bpb 1.2500, 1,000 tok/s, MFU 12.0 %, 9 s left"
    assert progress.numbers() == {"step": 10, "steps": 100, "loss": 3.5, "bpb": 1.25, "tok_per_sec": 1000.0,
                                  "mfu_percent": 12.0, "memory_mib": 200.0, "eta_sec": 9.0}  # fmt: skip
    assert not progress.ended


def test_a_loss_that_is_no_number_and_a_damaged_line_stop_nothing(run) -> None:
    run.says("step", step=3, loss=float("nan"))
    run.events.open("a").write("not json\n[1]\n")
    run.says("end", status="failed_nan", step=3)
    progress = read_progress(run.dir)
    assert progress.ended and progress.loss is None and progress.status == "failed_nan"


def test_events_cut_back_to_a_checkpoint_are_read_again(run) -> None:
    run.says("start", step=0, steps=100)
    size = run.events.stat().st_size
    run.says("step", step=50, steps=100)
    follower = Follower(run.dir)
    assert follower.poll() and not follower.poll()
    run.events.write_bytes(run.events.read_bytes()[:size])
    run.says("resume", step=20)
    assert follower.poll()
    assert follower.progress.step == 20


def test_it_beats_at_every_evaluation_and_else_every_ten_seconds(run) -> None:
    now, said = [0.0], []

    def say(progress: Progress, evaluated: bool) -> None:
        said.append((progress.step, evaluated))

    beats = Beats(Follower(run.dir), say, lambda: now[0])
    run.says("step", step=1)
    beats.poll()
    assert said == []
    run.says("evaluation", step=2, bpb=2.0)
    beats.poll()
    beats.poll()
    assert said == [(2, True)]
    run.says("step", step=5)
    now[0] += BEAT_SECONDS
    beats.poll()
    now[0] += BEAT_SECONDS
    beats.poll()
    assert said == [(2, True), (5, False)]


def test_a_run_that_nothing_is_known_of_has_no_numbers_that_would_be_plotted() -> None:
    assert Progress().numbers() == {"step": 0}


def test_a_trained_partition_has_observations_and_stays_up_to_date(simulated_once) -> None:
    lane, _ = simulated_once.assets()
    with simulated_once.instance() as instance:
        wanted = dg.AssetRecordsFilter(asset_key=lane.key("baseline_runs"), asset_partitions=["41"])
        beats = [record.asset_observation for record in instance.fetch_observations(wanted, limit=100).records]
        assert beats and max(beat.metadata["step"].value for beat in beats) == 400
        assert {"loss", "bpb", "tok_per_sec"} <= set(beats[0].metadata)
        assert Staleness(lane, instance).up_to_date("baseline_runs", "41")
