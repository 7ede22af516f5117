"""The report as a page: whole in itself, right whatever there is of a lane, and small enough to send."""

import json
import re

import pytest

from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.report.curves import lane_curves
from laneb.report.lane import report_of
from laneb.report.provenance import provenance_of
from laneb.report.schema_columns import COLUMN_MEANINGS
from laneb.storage.schema_table import SCHEMA_COLUMNS
from laneb_assets.views.curves import ARM_COLORS, curve_charts
from laneb_assets.views.page import report_page


def page_of(lane, rows: str = "simulated") -> str:
    return report_page(report_of(lane.store, lane.name, lane.warehouse.current_rows(rows)), lane.store)


@pytest.fixture(scope="module")
def page(simulated_once) -> str:
    return simulated_once.store.locations.report_html.read_text(encoding="utf-8")


def test_a_lane_of_13_runs_is_a_page_under_3_mb_that_asks_the_network_for_nothing(page) -> None:
    assert len(page.encode()) < 3_000_000
    still = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', still))
    assert not re.search(r"<script\s|<link|<iframe|@import|url\((?!#)", still)


def test_without_scripts_every_curve_is_drawn(page, simulated_once) -> None:
    still = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert len(re.findall(r"<svg ", still)) == 2
    for arm in ("baseline", "calibration", "inferred", "confirmation"):
        assert ARM_COLORS[arm] in still
    assert "threshold" in re.search(r'aria-label="([^"]*)"', still)[1]


def test_every_picture_says_what_is_seen(page) -> None:
    alts = re.findall(r'<img alt="([^"]*)"', page)
    assert alts and all(len(alt) > 40 for alt in alts)


def test_all_gates_stand_with_their_state_and_the_sensitivity_beside_them(page, simulated_once) -> None:
    inference = simulated_once.store.read(Inference)
    for gate in inference.gates:
        assert gate.name.replace("_", " ") in page
    assert page.count("<td>holds</td>") == sum(gate.passed for gate in inference.gates)
    assert all(row.change.partition(" (")[0].replace("&", "&amp;") in page for row in inference.sensitivity)


def test_the_page_tells_what_ran_and_what_it_cost(simulated_once) -> None:
    facts = dict(provenance_of(simulated_once.store, simulated_once.store.read(Experiment)))
    assert "22,560 are scaling parameters" in facts["Model"]
    assert facts["Cost of the lane"].startswith("13 runs, ")
    assert "laneb run --profile" in facts["Profile"]
    assert "dagster 1." in facts["Versions"]
    assert facts["Trainer"].startswith("simulated: ") and "cores, Python 3." in facts["Reported on"]
    assert len(facts["Code that ran"].rstrip("+")) == 40


def test_curves_have_a_crossing_where_the_run_reaches_the_threshold(simulated_once) -> None:
    store = simulated_once.store
    threshold = store.read(Inference).target_metric_threshold
    curves = lane_curves(store, store.read(Experiment), threshold)
    assert len(curves) == 13
    for curve in curves:
        assert (curve.crossing is not None) == (min(point.bpb for point in curve.points) <= threshold)
    before = curve_charts(curves, None)
    assert [chart.name for chart in before] == ["step", "seconds"]
    assert "threshold" not in json.dumps(before[0].spec)


def test_a_page_before_candidates_and_one_of_imported_rows_are_not_empty(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    for role in lane.store.locations.run_results_dir.glob("laneb_[ic][no]*.json"):
        role.unlink()
    early = page_of(lane, "nothing")
    assert "No candidates yet" in early and "<svg " in early and "Runs, arm by arm" not in early
    lane.store.locations.infer_json.unlink()
    imported = page_of(lane)
    assert "Imported rows only" in imported and "Seed tally" in imported


def test_an_inconclusive_lane_and_a_fallback_lane_have_whole_pages(finished_simulated_lane, monkeypatch) -> None:
    lane = finished_simulated_lane

    def page_with(*steps: str, **variables: str) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        lane.store.write(Experiment.of(lane.settings))
        outcomes = [lane.materialize(*step.split(":")) for step in (*steps, "inference_schema", "lane_b_summary")]
        assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
        return lane.store.locations.report_html.read_text(encoding="utf-8")

    open_page = page_with(LANE_B_RUN_SEEDS="41")
    assert "<b>INCONCLUSIVE</b>" in open_page and "Not settled: " in open_page and "paired seed" in open_page
    page = page_with("ratio_inference", "candidate_runs:41", LANE_B_UNREACHABLE_MULT="0.01")
    assert "<b>fallback</b>" in page and "No ratio to trust: " in page and "<td>fails (blocking)</td>" in page
    for whole in (open_page, page):
        assert all(title in whole for title in ("Curves", "Runs, arm by arm", "Gates", "Where it comes from"))
        assert whole.count("<svg ") >= 2 and "data:image/png" in whole
    assert "<td>fallback</td>" in page and "<td>confirmation</td>" not in page


def test_the_page_plans_the_next_run(page) -> None:
    assert "The next run" in page and "laneb plan --set-next keeps it" in page and "<th scope=col>power 5%" in page


def test_every_column_of_the_schema_has_a_meaning() -> None:
    assert tuple(COLUMN_MEANINGS) == SCHEMA_COLUMNS
