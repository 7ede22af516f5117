"""The whole lane without training."""

import dagster as dg
import pytest

from laneb.knobs import EXPERIMENT_SECTIONS
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.verdict import Verdict
from laneb.storage.looks import read_looks
from laneb.training.surface import read_surface
from laneb_assets.definitions import definitions_of


def test_a_simulated_lane_finds_the_ratio_that_its_surface_was_given(simulated_once) -> None:
    store = simulated_once.store
    inference = store.read(Inference)
    surface = read_surface(str(simulated_once.folder / "surface.toml"))
    effects = sorted(surface.seed_effect(seed) + surface.noise(seed, 400 * 128) for seed in (41, 42, 43))
    truth = surface.ratio(inference.target_metric_threshold - sum(effects) / 3)
    assert inference.promotable
    assert inference.inferred_target_param_data_ratio == pytest.approx(truth, rel=0.05)
    assert {row.status for row in store.read_manifest()} == {"ok"}


def test_a_run_that_a_nan_ended_is_trained_again_when_it_is_asked_for(simulated_lane) -> None:
    surface = simulated_lane.folder / "surface.toml"
    surface.write_text(surface.read_text(encoding="utf-8") + "nan_seeds = [42]\n", encoding="utf-8")
    for asset in ("experiment", "tokenizer", "token_shards"):
        assert simulated_lane.materialize(asset).state == "done"
    attempts = []
    for _ in range(2):
        assert "baselines_finished" in simulated_lane.materialize("baseline_runs", "42").error
        kept = simulated_lane.store.read_run("baseline_s42", "")
        attempts.append((kept.status, kept.attempt))
    assert attempts == [("failed_nan", 1), ("failed_nan", 2)]
    assert simulated_lane.materialize("baseline_runs", "41").numbers["status"] == "ok"
    assert simulated_lane.materialize("baseline_runs", "41").numbers["runs_trained"] == 0


def test_a_look_is_recorded_once_however_often_the_summary_is_made(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    looks = read_looks(lane.warehouse, "simulated")
    assert [(look.mode, look.pairs, look.decision) for look in looks] == [
        ("confirmation", 3, "ACCEPT"), ("inferred", 3, "ACCEPT")
    ]  # fmt: skip
    verdict = lane.store.read(Verdict)
    with lane.instance() as instance:
        materialized = dg.AssetKey(["simulated", "lane_b_summary"])
        job = definitions_of(lane.settings).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=[materialized]).success
    assert read_looks(lane.warehouse, "simulated") == looks
    again = lane.store.read(Verdict)
    assert [mode.critical for mode in again.modes] == [mode.critical for mode in verdict.modes]
    report = (lane.settings.locations.work_dir / "summary.md").read_text()
    assert "Look at 3 pairs: t " in report
    assert "are left for more seeds" in report
    assert "further runs pay for it" in report


def test_a_tracker_is_linked_from_the_partition_and_makes_nothing_stale(finished_simulated_lane, monkeypatch) -> None:
    lane = finished_simulated_lane
    before = lane.settings
    monkeypatch.setenv("LANE_B_TRACKERS", "tensorboard")
    now, then = Experiment.of(lane.settings), Experiment.of(before)
    assert all(now.section_hash(section.title) == then.section_hash(section.title) for section in EXPERIMENT_SECTIONS)
    assert lane.settings.given_fingerprint == before.given_fingerprint
    runs = lane.settings.locations.runs_dir
    trained = runs / "d1_i400_s42"
    (trained / "result.json").unlink()
    assert lane.materialize("baseline_runs", "42").state == "done"
    with lane.instance() as instance:
        key = dg.AssetKey(["simulated", "baseline_runs"])
        event = instance.get_latest_materialization_event(key)
        assert event is not None and event.asset_materialization is not None
        link = event.asset_materialization.metadata["tensorboard"]
    assert link.value == str(trained / "tensorboard") and any((trained / "tensorboard").iterdir())
    assert not (runs / "d1_i400_s41" / "tensorboard").exists()
