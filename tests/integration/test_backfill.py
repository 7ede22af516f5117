"""The lane under a real daemon: a click on "Materialize all"."""

import dagster as dg
import pytest
from server import serving, wait_until

from laneb.records.verdict import Verdict
from laneb_assets.lane_run.steps import steps_of

pytestmark = pytest.mark.slow


def test_materialize_all_runs_the_whole_graph_in_order(simulated_lane) -> None:
    lane = simulated_lane
    few(lane)
    with serving(lane) as server, lane.instance() as instance:
        assets = lane.assets()[0]
        names = sorted({step.asset for step in steps_of(assets)} - {"experiment"})
        keys = [*(key.path for key in assets.settings_keys), *(["simulated", name] for name in names)]
        backfill = server.materialize_all(keys)
        wait_until(lambda: not _under_way(instance, backfill), "the backfill ends", 420)
        assert instance.get_backfill(backfill).status.value == "COMPLETED_SUCCESS"
        latest = {}
        for name in names:
            records = instance.fetch_materializations(dg.AssetKey(["simulated", name]), limit=20).records
            latest[name] = (min(record.timestamp for record in records), max(record.timestamp for record in records))
        assert latest["token_shards"][1] < latest["baseline_runs"][0]
        assert latest["baseline_runs"][1] < latest["baseline_results"][0]
        assert latest["calibration_runs"][1] < latest["calibration_points"][0]
        assert latest["ratio_inference"][1] < latest["candidate_runs"][0]
        assert latest["candidate_runs"][1] < latest["inference_schema"][0]
        assert lane.store.read(Verdict).arms


def few(lane) -> None:
    """As few seeds as a verdict takes: each run of the backfill is a process of its own."""
    text = lane.profile.read_text(encoding="utf-8")
    for more, few in (("seeds = [41, 42]\n", "seeds = [41]\n"), ("seeds = [41, 42, 43]", "seeds = [41, 42]")):
        text = text.replace(more, few)
    lane.profile.write_text(text.replace("threshold_offset", "min_success = 2\nthreshold_offset"), encoding="utf-8")


def _under_way(instance: dg.DagsterInstance, backfill: str) -> bool:
    found = instance.get_backfill(backfill)
    return found is None or found.status.value == "REQUESTED"
