"""Runs that are cancelled in the UI: a checkpoint is kept, and the pool's slot is the next one's."""

import dagster as dg
import pytest
from server import serving, wait_until

pytestmark = pytest.mark.slow


def test_a_cancelled_run_keeps_its_checkpoint_and_frees_its_slot(lane) -> None:
    """Two baselines far too long to end here: the second begins when the first one is cancelled."""
    for asset in ("experiment", "tokenizer", "token_shards"):
        assert lane.materialize(asset).state == "done"
    with serving(lane) as server, lane.instance() as instance:
        config = {"ops": {"micro__experiment": {"config": {"overrides": {"baseline.num_iterations": 200_000}}}}}
        changed = server.materialize(*(key.path for key in lane.assets()[0].settings_keys), config=config)
        wait_until(lambda: _status(instance, changed) == "SUCCESS", "the experiment is overridden", 120)
        first = server.materialize(["micro", "baseline_runs"], partition="41")
        wait_until(lambda: _trains(lane, 41), "the first baseline trains", 120)
        second = server.materialize(["micro", "baseline_runs"], partition="42")
        server.terminate(first)
        wait_until(lambda: _trains(lane, 42), "the pool's slot is free again", 120)
        assert _status(instance, first) == "CANCELED"
        assert list(lane.settings.locations.runs_dir.glob("d1_i200000_s41/checkpoint/step_*.pt"))
        server.terminate(second)
        wait_until(lambda: _status(instance, second) == "CANCELED", "the second baseline is cancelled", 120)


def _trains(lane, seed: int) -> bool:
    logs = lane.settings.locations.runs_dir.glob(f"d1_i200000_s{seed}/train.log")
    return any("step 00010/" in log.read_text() for log in logs)


def _status(instance: dg.DagsterInstance, run_id: str) -> str:
    return instance.get_run_by_id(run_id).status.value
