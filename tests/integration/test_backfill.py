"""The lane under a real daemon: a click on "Materialize all", and runs that are cancelled."""

import dagster as dg
import pytest
from server import Server, serving, wait_until

from laneb.records.verdict import Verdict
from laneb_assets.lane_run.steps import steps_of

pytestmark = pytest.mark.slow


def test_materialize_all_runs_the_whole_graph_in_order_and_a_cancelled_run_frees_its_slot(lane) -> None:
    with serving(lane) as server, lane.instance() as instance:
        names = sorted({step.asset for step in steps_of(lane.assets()[0])} - {"experiment"})
        sections = [key.path for key in _settings_keys(lane)]
        backfill = server.materialize_all([*sections, *(["micro", name] for name in names)])
        wait_until(lambda: not _under_way(instance, backfill), "the backfill ends", 420)
        assert instance.get_backfill(backfill).status.value == "COMPLETED_SUCCESS"
        latest = {}
        for name in names:
            records = instance.fetch_materializations(dg.AssetKey(["micro", name]), limit=20).records
            latest[name] = (min(record.timestamp for record in records), max(record.timestamp for record in records))
        assert latest["token_shards"][1] < latest["baseline_runs"][0]
        assert latest["baseline_runs"][1] < latest["baseline_results"][0]
        assert latest["calibration_runs"][1] < latest["calibration_points"][0]
        assert latest["ratio_inference"][1] < latest["candidate_runs"][0]
        assert latest["candidate_runs"][1] < latest["inference_schema"][0]
        assert lane.store.read(Verdict).arms
        _cancel_one_while_another_waits(lane, server, instance)


def _cancel_one_while_another_waits(lane, server: Server, instance: dg.DagsterInstance) -> None:
    """Two baselines far too long to end here: the second begins when the first one is cancelled."""
    config = {"ops": {"micro__experiment": {"config": {"overrides": {"baseline.num_iterations": 1_000_000}}}}}
    changed = server.materialize(*(key.path for key in _settings_keys(lane)), config=config)
    wait_until(lambda: _status(instance, changed) == "SUCCESS", "the experiment is overridden", 60)
    first = server.materialize(["micro", "baseline_runs"], partition="41")
    wait_until(lambda: _trains(lane, 41), "the first baseline trains", 60)
    second = server.materialize(["micro", "baseline_runs"], partition="42")
    server.terminate(first)
    wait_until(lambda: _trains(lane, 42), "the pool's slot is free again", 90)
    assert _status(instance, first) == "CANCELED"
    assert list(lane.settings.locations.runs_dir.glob("d1_i1000000_s41/checkpoint/step_*.pt"))
    server.terminate(second)
    wait_until(lambda: _status(instance, second) == "CANCELED", "the second baseline is cancelled", 60)


def _trains(lane, seed: int) -> bool:
    logs = lane.settings.locations.runs_dir.glob(f"d1_i1000000_s{seed}/train.log")
    return any("step 00010/" in log.read_text() for log in logs)


def _status(instance: dg.DagsterInstance, run_id: str) -> str:
    return instance.get_run_by_id(run_id).status.value


def _under_way(instance: dg.DagsterInstance, backfill: str) -> bool:
    found = instance.get_backfill(backfill)
    return found is None or found.status.value == "REQUESTED"


def _settings_keys(lane) -> list[dg.AssetKey]:
    return lane.assets()[0].settings_keys
