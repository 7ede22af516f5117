"""The lane under a real daemon: baselines that change while nobody clicks."""

import time
from collections import Counter

import dagster as dg
import pytest
from server import Server, wait_until

from laneb.storage.roles import baseline_role

pytestmark = pytest.mark.slow

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


def test_new_baselines_lead_to_a_new_summary_without_a_click_and_each_asset_runs_once(finished_simulated_lane) -> None:
    with finished_simulated_lane.instance() as instance:
        server = Server(finished_simulated_lane)
        try:
            wait_until(lambda: skips(instance) >= 1, "the sensor finds the finished lane up to date", 120)
            assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])) == 0
            moment = time.time()
            change_baseline(finished_simulated_lane, instance, 41, by=-0.2)
            wait_until(lambda: made_since(instance, moment)["ratio_inference"], "the analysis reruns", 120)
            # A daemon that dies between two stages loses nothing: where the lane stands is in its records.
            server.kill()
            server = Server(finished_simulated_lane)
            wait_until(lambda: made_since(instance, moment)["lane_b_summary"], "the summary follows", 240)
            assert made_since(instance, moment) == Counter(FOLLOWING)

            version = finished_simulated_lane.store.read_run(baseline_role(41), "").content_hash()
            seen = skips(instance)
            report(instance, "41", version)
            wait_until(lambda: skips(instance) >= seen + 2, "the sensor looks at the unchanged baseline", 120)
            assert made_since(instance, moment) == Counter(FOLLOWING)
        finally:
            server.stop()
