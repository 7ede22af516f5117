"""No damage wedges a lane: what is missing or rotted is made again without training, and the answer is the same."""

import shutil
from pathlib import Path

import pytest

from laneb.records.corpus import TokenShards
from laneb.records.verdict import Verdict
from laneb.storage.condition import condition_of
from laneb.storage.products import PRODUCTS


def made(outcomes) -> dict[str, str]:
    """What was made, and what of it was damaged before."""
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    return {one.step.label: one.damage for one in outcomes if one.state == "done" and one.step.asset != "experiment"}


def said(lane) -> list[str]:
    """The lines of the verdict, but for when it was said."""
    lines = lane.store.path(Verdict).read_text().splitlines()
    return [line for line in lines if "timestamp_utc" not in line and '"checksum"' not in line]


@pytest.fixture(scope="module")
def damaged_once(finished_once, tmp_path_factory):
    """A lane of which something of every kind was deleted, cut or changed; before and after it ran again."""
    lane = finished_once.copied_to(tmp_path_factory.mktemp("damaged") / "lane")
    at, store = lane.settings.locations, lane.store
    store.name_this_place()
    verdict = said(lane)
    [meta] = at.corpus_dir.glob("shards_*/meta.json")
    (meta.parent / "train.bin").write_bytes(b"\0" * (meta.parent / "train.bin").stat().st_size)
    store.path(TokenShards).write_bytes(b"\xff")
    at.baseline_threshold_env.unlink()
    at.calib_env.write_text("CALIB_TOKENS=1\n")
    at.scaling_txt.unlink()
    (at.baseline_results_dir / "baseline_d1_s41_train.log").write_text("nothing")
    infer = at.infer_json.read_text()
    at.infer_json.write_text(
        infer.replace('"inferred_target_param_data_ratio": ', '"inferred_target_param_data_ratio": 1')
    )
    at.manifest_csv.unlink()
    run = next(at.run_results_dir.glob("laneb_inferred_*.json"))
    run.write_bytes(run.read_bytes()[:200])
    conditions = {asset: condition_of(store, asset) for asset, product in PRODUCTS.items() if product.roles is None}
    return lane, verdict, conditions, made(lane.run())


def test_damage_is_named_and_never_raised(damaged_once) -> None:
    _, _, conditions, _ = damaged_once
    assert {asset: found.state for asset, found in conditions.items() if not found.whole} == {
        "token_shards": "damaged", "baseline_threshold": "missing", "calibration_points": "damaged",
        "scaling_params": "missing", "ratio_inference": "damaged", "inference_schema": "missing",
    }  # fmt: skip
    assert all(found.reason for found in conditions.values() if not found.whole)


def test_what_was_damaged_is_made_again_with_its_reason_and_the_answer_is_the_same(damaged_once) -> None:
    lane, verdict, _, again = damaged_once
    assert {label for label, damage in again.items() if damage} == {
        "token_shards", "baseline_runs [41]", "baseline_threshold", "scaling_params", "calibration_points",
        "ratio_inference", "candidate_runs [41]", "inference_schema",
    }  # fmt: skip
    assert "is no text: it was damaged" in again["token_shards"]
    assert said(lane) == verdict
    assert made(lane.run()) == {}


def test_nothing_is_trained_again_for_a_damaged_role(damaged_once, finished_once) -> None:
    lane, *_ = damaged_once
    at, before = lane.settings.locations, finished_once.settings.locations
    results = {path.relative_to(before.runs_dir): path.read_bytes() for path in before.runs_dir.glob("*/result.json")}
    assert {path.relative_to(at.runs_dir): path.read_bytes() for path in at.runs_dir.glob("*/result.json")} == results


def test_a_copied_lane_never_reads_its_original(finished_once, tmp_path: Path) -> None:
    original = finished_once.copied_to(tmp_path / "first")
    copy = original.copied_to(tmp_path / "second")
    copy.profile.write_text(copy.profile.read_text().replace(str(original.folder), str(copy.folder)))
    shutil.rmtree(original.folder)
    assert made(copy.run()) == {}
    files = [path for path in copy.settings.locations.base_dir.rglob("*") if path.suffix in (".json", ".csv", ".env")]
    assert [path for path in files if str(original.folder) in path.read_text()] == []
