"""`laneb run` with several training runs at once: nothing is lost, all is the same, and the wait is shorter."""

import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus
from postgres_server import missing, postgres
from servers import until

from laneb.records.verdict import Verdict
from laneb_assets.lane_run.steps import Step, steps_of
from laneb_assets.lane_run.walk import run_lane
from laneb_assets.names import EXPERIMENT, TRAINED

pytestmark = pytest.mark.slow

DEPLOYED = Path(__file__).parents[2] / "deploy" / "dagster.yaml"

PACE = 0.08
"""Real seconds of a simulated one: a run takes 2 to 3 s, of which it sleeps most."""


def results_of(lane) -> dict[str, str]:
    """What each run of a lane says, but for its times and the pace."""
    folder = lane.settings.locations.run_results_dir
    runs = {path.stem: lane.store.read_run(path.stem, "") for path in folder.glob("*.json")}
    named = runs.items()
    return {role: run.model_copy(update={"fingerprint": "", "recipe": ""}).content_hash() for role, run in named}


def decided(lane) -> list[object]:
    """What a lane's verdict rests on."""
    return [(mode.decision, mode.differences, mode.gain_bounds) for mode in lane.store.read(Verdict).modes]


def at_a_pace(lane, pace: float) -> None:
    """Let a lane's runs take so many real seconds for a simulated one."""
    surface = lane.folder / "surface.toml"
    surface.write_text(surface.read_text(encoding="utf-8") + f"pace = {pace}\n", encoding="utf-8")


def run_paced(lane, instance: dg.DagsterInstance, pace: float) -> tuple[float, float]:
    """Run a lane whose runs take time; how long each of its training steps took, added up, and how long all did [s]."""
    at_a_pace(lane, pace)
    first, last = dict[str, float](), dict[str, float]()
    outcomes = run_lane(
        lane.settings,
        instance,
        before=lambda step: first.setdefault(step.asset, time.monotonic()),
        after=lambda outcome: last.update({outcome.step.asset: time.monotonic()}),
    )
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    trained = [outcome.seconds for outcome in outcomes if outcome.step.asset in TRAINED]
    # Baselines and calibration runs need nothing of each other.
    levels = (("baseline_runs", "calibration_runs"), ("candidate_runs",))
    spans = (max(last[name] for name in level) - min(first[name] for name in level) for level in levels)
    return sum(trained), sum(spans)


def is_whole(lane, instance: dg.DagsterInstance) -> None:
    """Each step is a run of Dagster's that succeeded and whose materialization is there, once; the plan's, made before
    anything trains and again when the lane is calibrated, twice."""
    runs = instance.get_run_records()
    assert {record.dagster_run.status for record in runs} == {DagsterRunStatus.SUCCESS}
    assets, _ = lane.assets()
    steps = [step for step in steps_of(assets) if step.asset != EXPERIMENT]
    made: Counter[tuple[str, str | None]] = Counter()
    for record in runs:
        events = instance.all_logs(record.dagster_run.run_id)
        made.update(
            (event.dagster_event.asset_key.path[-1], event.dagster_event.partition)
            for event in events
            if event.dagster_event is not None and event.dagster_event.is_step_materialization
        )
    wanted_times = {(step.asset, step.partition): 2 if step.asset == "lane_b_plan" else 1 for step in steps}
    assert {step: made[step] for step in wanted_times} == wanted_times
    for step in steps:
        wanted = dg.AssetRecordsFilter(assets.key(step.asset), asset_partitions=step.partition and [step.partition])
        found = instance.fetch_materializations(wanted, limit=5).records
        assert len(found) == made[step.asset, step.partition], step


def test_partitions_side_by_side_come_to_the_same_as_one_by_one(simulated_once, simulated_lane, monkeypatch):
    monkeypatch.setenv("LANE_B_PARALLEL_RUNS", "4")
    with simulated_lane.instance() as instance:
        one_by_one, side_by_side = run_paced(simulated_lane, instance, PACE)
        is_whole(simulated_lane, instance)
    assert side_by_side < 0.6 * one_by_one
    assert results_of(simulated_lane) == results_of(simulated_once)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_with_its_runs_in_postgres_a_lane_comes_to_the_same(simulated_once, simulated_lane, monkeypatch):
    shutil.copy(DEPLOYED, simulated_lane.home / "dagster.yaml")
    monkeypatch.setenv("LANE_B_PARALLEL_RUNS", "4")
    with postgres() as url:
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        with simulated_lane.instance() as instance:
            assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
            run_paced(simulated_lane, instance, 0.0)
            is_whole(simulated_lane, instance)
    assert results_of(simulated_lane) == results_of(simulated_once)
    assert decided(simulated_lane) == decided(simulated_once)


def holds_a_slot(instance: dg.DagsterInstance) -> str:
    """A run of another machine that has the only slot of the pool."""
    other = instance.add_run(dg.DagsterRun(job_name="baselines", status=DagsterRunStatus.STARTED)).run_id
    instance.event_log_storage.set_concurrency_slots("training", 1)
    assert instance.event_log_storage.claim_concurrency_slot("training", other, "step").is_claimed
    return other


def test_a_low_limit_is_raised_who_waits_says_for_whom_and_ctrl_c_stops_all(simulated_lane, monkeypatch):
    """In a home whose config gives no limit to a pool that has none of its own."""
    monkeypatch.setenv("LANE_B_PARALLEL_RUNS", "3")
    config = simulated_lane.home / "dagster.yaml"
    config.write_text(config.read_text().replace("    default_limit: 1\n", ""))
    # What a shell starts in the background ignores SIGINT, tests too.
    before_the_test = signal.signal(signal.SIGINT, signal.default_int_handler)
    training = [step for step in steps_of(simulated_lane.assets()[0]) if step.asset in TRAINED]

    said: list[str] = []

    def press_ctrl_c() -> None:
        runs = simulated_lane.settings.locations.runs_dir
        until(lambda: said and len(list(runs.glob("*/events.jsonl"))) == 2, 60, "two runs train, and one waits")
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press_ctrl_c)

    def before(step: Step) -> None:
        if step == training[1]:
            pressing.start()

    # A run of 400 steps would take 200 s.
    at_a_pace(simulated_lane, 5.0)
    with simulated_lane.instance() as instance:
        other = holds_a_slot(instance)
        with pytest.raises(KeyboardInterrupt):
            run_lane(
                simulated_lane.settings, instance, before=before, after=lambda outcome: None,
                waiting=lambda step, sentence: said.append(f"{step.asset}: {sentence}"),
            )  # fmt: skip
    assert said[0].startswith("baseline_runs: waiting for a slot of the pool 'training', held by run ")
    assert f"run {other[:8]} (baselines)" in said[0]
    pressing.join()
    signal.signal(signal.SIGINT, before_the_test)
    left = [process for process in psutil.Process().children(recursive=True) if "laneb.training" in process.cmdline()]
    assert left == []
    runs = simulated_lane.settings.locations.runs_dir.glob("*/events.jsonl")
    ends = [path.read_text().splitlines()[-1] for path in runs]
    assert len(ends) == 2 and all("stopped by SIG" in end for end in ends)
