"""The lane under a real daemon: baselines that change while nobody clicks."""

import time
from collections import Counter

import dagster as dg
import pytest
from server import Server, wait_until

from laneb.settings import read_overrides
from laneb.storage.overrides import write_overrides
from laneb.storage.roles import baseline_role
from laneb_assets.runs.alive import is_alive

pytestmark = pytest.mark.slow

KEPT = {"automation.automation": "all"}
"""An override that nothing is made from."""
RECOVERY_SECONDS = 60
CHAIN = ["baseline_results", "baseline_threshold", "calibration_points", "ratio_inference"]
FOLLOWING = {**dict.fromkeys(CHAIN, 1), "candidate_runs": 3, "inference_schema": 1, "lane_b_summary": 1}


def change_baseline(lane, instance: dg.DagsterInstance, seed: int, by: float) -> None:
    """Another result of a baseline seed, as a run elsewhere would leave and report it."""
    result = lane.store.read_run(baseline_role(seed), "baseline_runs")
    curve = tuple(point._replace(bpb=point.bpb + by) for point in result.val_curve)
    changed = result.model_copy(update={"val_curve": curve})
    lane.store.write_run(baseline_role(seed), changed)
    report(instance, str(seed), changed.content_hash())


def report(instance: dg.DagsterInstance, seed: str, version: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            dg.AssetKey(["simulated", "baseline_runs"]), partition=seed, tags={"dagster/data_version": version}
        )
    )


def made_since(instance: dg.DagsterInstance, moment: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name in FOLLOWING:
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(["simulated", name]), after_timestamp=moment)
        counts[name] = len(instance.fetch_materializations(records, limit=50).records)
    return +counts


def skips(instance: dg.DagsterInstance) -> int:
    """How often the sensor has looked and found nothing to do."""
    states = [state for state in instance.all_instigator_state() if state.instigator_name == "baselines_changed"]
    ticks = [tick for state in states for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)]
    return sum("up to date" in (tick.skip_reason or "") for tick in ticks)


def candidates(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs of candidates that a sensor asked for."""
    runs = instance.get_runs(dg.RunsFilter(job_name="candidates"))
    return [run for run in runs if "dagster/sensor_name" in run.tags]


def test_new_baselines_lead_to_a_new_summary_without_a_click_and_each_asset_runs_once(finished_simulated_lane) -> None:
    """Also where all is killed while the sensor's own runs are under way."""
    lane = finished_simulated_lane
    write_overrides(lane.settings.locations, KEPT)
    with lane.instance() as instance:
        server = Server(lane)
        try:
            wait_until(lambda: skips(instance) >= 1, "the sensor finds the finished lane up to date", 120)
            assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])) == 0
            moment = time.time()
            change_baseline(lane, instance, 41, by=-0.2)
            # One trains, and the others wait for their turn: seconds.
            wait_until(lambda: any(is_alive(instance, run.run_id) for run in candidates(instance)), "it trains", 120)
            server.kill()
            begun = [run.run_id for run in candidates(instance)]
            wait_until(lambda: not any(is_alive(instance, run_id) for run_id in begun), "all of it is gone", 10)
            killed = [run_id for run_id in begun if is_alive(instance, run_id) is False]
            assert killed
            again = [run_id for run_id in killed if has_made(instance, run_id)]
            expected = Counter(FOLLOWING) + Counter(candidate_runs=len(again))
            server = Server(lane)
            since = time.monotonic()
            for run_id in killed:
                wait_until(lambda run_id=run_id: instance.get_run_by_id(run_id).is_failure, "its end is on record", 60)
            assert time.monotonic() - since < RECOVERY_SECONDS
            wait_until(lambda: made_since(instance, moment)["lane_b_summary"], "the summary follows", 240)
            assert made_since(instance, moment) == expected
            # Dagster tried each that was killed once more, and the sensor asked for nothing beside it.
            partitions = Counter(run.tags["dagster/partition"] for run in candidates(instance))
            lost = Counter(instance.get_run_by_id(run_id).tags["dagster/partition"] for run_id in killed)
            assert partitions == Counter(["41", "42", "43"]) + lost
            assert instance.event_log_storage.get_concurrency_info("training").active_run_ids == set()
            assert read_overrides(lane.settings.locations) == KEPT

            version = lane.store.read_run(baseline_role(41), "").content_hash()
            seen = skips(instance)
            report(instance, "41", version)
            wait_until(lambda: skips(instance) >= seen + 2, "the sensor looks at the unchanged baseline", 120)
            assert made_since(instance, moment) == expected
        finally:
            server.stop()


def has_made(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run that was killed had come as far as to put what it made on record."""
    return bool(instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records)
