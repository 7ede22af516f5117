"""The lane under a real daemon: a click on "Materialize all"."""

import dagster as dg
import pytest
from server import serving, wait_until

from laneb.records.verdict import Verdict
from laneb_assets.headless import steps_of

pytestmark = pytest.mark.slow


def test_materialize_all_runs_the_whole_graph_in_order(lane) -> None:
    with serving(lane) as server, lane.instance() as instance:
        names = sorted({step.asset for step in steps_of(lane.settings)} - {"experiment"})
        sections = [path.path for path in _settings_keys(lane)]
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


def _under_way(instance: dg.DagsterInstance, backfill: str) -> bool:
    found = instance.get_backfill(backfill)
    return found is None or found.status.value == "REQUESTED"


def _settings_keys(lane) -> list[dg.AssetKey]:
    from laneb_assets.definitions import definitions_of

    graph = definitions_of(lane.settings).resolve_asset_graph()
    return [key for key in graph.get_all_asset_keys() if graph.get(key).group_name == "experiment"]
