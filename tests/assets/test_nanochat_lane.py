"""The whole lane on a nanochat checkout that trains, tokenizes and logs by itself."""

import sys

import pytest
from stand_in_checkout import write_checkout, write_shard

from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.scaling import ScalingParams
from laneb.records.statistics import ContextLossDecay
from laneb.wanted import wanted_spec
from laneb_assets.automation.staleness import Staleness
from laneb_assets.names import TRAINED

pytestmark = pytest.mark.slow


def test_a_lane_on_a_nanochat_checkout_ends_in_a_verdict_and_begins_again_when_its_code_changes(
    lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = write_checkout(lane.folder / "nanochat", lm_head=320 * 32, matrices=12_320)
    profile = lane.profile.read_text()
    kept = [line for line in profile.splitlines() if not line.startswith(("corpus", "vocab_size"))]
    lane.profile.write_text("\n".join(kept))
    for name, value in {
        "LANE_B_BACKEND": "nanochat",
        "LANE_B_NANOCHAT_DIR": str(checkout),
        "LANE_B_NANOCHAT_PYTHON": sys.executable,
        "LANE_B_BASELINE_SEEDS": "41",
        "LANE_B_BASELINE_MIN_SUCCESS": "1",
        "LANE_B_CALIB_ITERS": "6,18",
        "LANE_B_CALIB_SEEDS": "41",
        "LANE_B_RUN_SEEDS": "41",
        "LANE_B_EVAL_EVERY": "1",
        "LANE_B_EVAL_EVERY_LATE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    outcomes = lane.run()
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    # Nobody said how large the vocabulary is, so it is the checkout's.
    assert lane.store.read(TokenizerInfo).vocab_size == lane.store.read(ScalingParams).vocab_size == 300
    shards = lane.store.read(TokenShards)
    assert (shards.dataset_id, shards.train_documents, shards.val_documents) == ("base_data", 80, 40)
    runs = [lane.store.read_run(f"laneb_calib_{steps}_s41", "") for steps in (6, 18)]
    assert [run.backend for run in runs] == ["nanochat", "nanochat"]
    assert [run.min_val_bpb for run in runs] == [pytest.approx(3.0 - steps / 10 + 0.041) for steps in (6, 18)]
    assert lane.store.read(Inference).bracketed
    assert "nanochat's own script" in lane.store.read(ContextLossDecay).reason
    assert {row.status for row in lane.store.read_manifest()} == {"ok"}

    script = checkout / "scripts" / "base_train.py"
    script.write_text(script.read_text().replace("bpb = 3.0", "bpb = 3.1"))
    assert lane.materialize("experiment").state == "done"
    with lane.instance() as instance:
        state = Staleness(lane.assets()[0], instance)
        assert not [found for asset in TRAINED for found in state.partitions(asset).values() if found.fresh]
        assert state.up_to_date("dataset_stats")
    assert lane.materialize("calibration_runs", "6|41").state == "done"
    assert lane.store.read_run("laneb_calib_6_s41", "").min_val_bpb == pytest.approx(3.1 - 6 / 10 + 0.041)

    write_shard(checkout / "base" / "base_data", 3)
    (said,) = lane.materialize("token_shards").failed_checks
    assert "1 added, and shard_00003.parquet is for validation now. Every run is another one" in said
    assert lane.store.read(TokenShards).train_documents == 120
    assert wanted_spec(lane.store, lane.store.read(Experiment), seed=41, steps=6).fingerprint not in {
        run.fingerprint for run in runs
    }
