"""Checkpoints that go once a run has its result, and weights that go out to nanochat."""

import json

import pytest
import torch

from laneb.model import build, load_nanochat_state
from laneb.training.export import ExportError, export_run


def test_a_finished_run_keeps_no_checkpoint(uninterrupted):
    runs, spec, _ = uninterrupted
    assert not (runs.folder / spec.run_id / "checkpoint").exists()
    assert not (runs.folder / spec.run_id / "model.pt").exists()


def test_kept_weights_go_out_as_a_checkpoint_that_gives_the_runs_loss(runs, tmp_path):
    spec = runs.spec(keep_model=True, recipe="nanochat-2026-07", depth=2, window_pattern="s")
    result = runs.train(spec)
    folder = export_run(runs.folder / spec.run_id, tmp_path / "base")
    assert folder == tmp_path / "base" / "base_checkpoints" / "d2"
    meta = json.loads((folder / "meta_000012.json").read_text())
    assert (meta["step"], meta["val_bpb"]) == (12, result.final_val_bpb)
    assert meta["model_config"] == {
        "sequence_len": 16, "vocab_size": 300, "n_layer": 2, "n_head": 2, "n_kv_head": 2, "n_embd": 64,
        "window_pattern": "S",
    }  # fmt: skip
    weights = torch.load(folder / "model_000012.pt", weights_only=True)
    model = build(
        depth=2, aspect_ratio=32, head_dim=32, max_seq_len=16, vocab_size=300, window_pattern="S",
        recipe="nanochat-2026-07", seed=1,
    )  # fmt: skip
    load_nanochat_state(model, weights)
    import numpy as np

    from laneb.corpus.shards import open_shards
    from laneb.training.devices import Device
    from laneb.training.evaluation import bits_per_byte
    from laneb.training.rows import rows_of

    shards = open_shards(spec.shards_path)
    batches = rows_of(spec, shards).validation(rank=0, world=1)
    token_bytes = torch.from_numpy(np.asarray(shards.token_bytes, dtype=np.int64))
    assert bits_per_byte(model, batches, token_bytes, Device(spec)) == pytest.approx(result.final_val_bpb, rel=1e-6)
    assert export_run(runs.folder / spec.run_id, tmp_path, "mine").name == "mine"


def test_a_run_that_kept_no_weights_is_refused_with_what_to_do(uninterrupted, tmp_path):
    runs, spec, _ = uninterrupted
    with pytest.raises(ExportError, match=r"kept no weights\. Train it again with LANE_B_KEEP_MODEL=1"):
        export_run(runs.folder / spec.run_id, tmp_path)
    unfinished = runs.prepared(runs.spec(seed=99))
    with pytest.raises(ExportError, match="has no result yet"):
        export_run(unfinished, tmp_path)
    with pytest.raises(ValueError, match="can't be read"):
        export_run(tmp_path / "nowhere", tmp_path)


def test_the_command_says_where_the_weights_went_and_which_runs_there_are(runs, tmp_path, monkeypatch, capsys):
    from laneb_assets.cli import main

    spec = runs.spec(keep_model=True)
    runs.train(spec)
    main(["export", str(runs.folder / spec.run_id), str(tmp_path / "out"), "--tag", "winner"])
    said = capsys.readouterr().out
    assert str(tmp_path / "out" / "base_checkpoints" / "winner") in said and "--model-tag=winner" in said
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["export", "d9_i9_s9", str(tmp_path)])
    assert "d9_i9_s9: no such run" in capsys.readouterr().err
