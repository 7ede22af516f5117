"""Whole training processes on a model of one layer."""

import json
import shutil

import pytest
from run_facts import facts, losses

from laneb.training.log import parse_log
from laneb.training.run_directory import prepare, read_result


def test_a_run_learns_and_says_so_in_the_lines_that_people_read(uninterrupted):
    runs, spec, result = uninterrupted
    assert result.status == "ok" and result.steps == 12 and result.realised_ratio == spec.realised_ratio
    assert [point.step for point in result.val_curve] == [0, 4, 8, 9, 10, 11, 12]
    assert result.val_curve[-1].bpb < 0.95 * result.val_curve[0].bpb
    assert (result.fingerprint, result.recipe) == (spec.fingerprint, spec.recipe)
    log = parse_log(runs.folder / spec.run_id / "train.log")
    assert log.complete and log.status == "ok"
    assert [step for step, *_ in log.val_curve] == [0, 4, 8, 9, 10, 11, 12]
    assert log.min_val_bpb == pytest.approx(result.min_val_bpb, abs=1e-6)
    assert log.total_batch_size == 128


def test_a_finished_run_has_its_loss_by_the_length_of_context(uninterrupted):
    _, spec, result = uninterrupted
    losses = result.context_losses
    # 20 documents of 99 tokens of text have six rows each; 256 tokens are 16 rows.
    assert (losses.rows, losses.rows_available) == (16, 120)
    assert (losses.curve[0].first, losses.curve[-1].last) == (1, spec.max_seq_len)
    assert all(0 < point.error < point.bits < 10 for point in losses.curve)


def test_events_tell_how_far_a_run_is(uninterrupted):
    runs, spec, _ = uninterrupted
    text = (runs.folder / spec.run_id / "events.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events if event["event"] in ("start", "end")] == ["start", "end"]
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(12))
    last = [event for event in events if event["event"] == "step"][-1]
    assert set(last) == {
        "event", "step", "steps", "loss", "tok_per_sec", "seconds", "eta_sec", "mfu_percent", "memory_mib"
    }  # fmt: skip
    assert [event["step"] for event in events if event["event"] == "evaluation"] == [0, 4, 8, 9, 10, 11, 12]


def test_training_time_leaves_out_the_first_ten_steps(uninterrupted):
    _, _, result = uninterrupted
    assert [point.seconds > 0 for point in result.val_curve] == [False] * 5 + [True] * 2


def test_the_same_spec_gives_the_same_losses_bit_for_bit(uninterrupted):
    runs, spec, result = uninterrupted
    again = runs.train(spec, "again")
    assert facts(again) == facts(result)
    assert losses(runs.folder / "again") == losses(runs.folder / spec.run_id)


def test_another_seed_gives_other_losses(uninterrupted):
    runs, _, result = uninterrupted
    assert runs.train(runs.spec(seed=42)).final_val_bpb != result.final_val_bpb


def test_a_finished_run_is_not_trained_again(uninterrupted):
    runs, spec, _ = uninterrupted
    run_dir = runs.folder / spec.run_id
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    assert runs.start(run_dir).wait() == 0
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_another_spec_sets_the_old_directory_aside_and_finds_it_again(uninterrupted, tmp_path):
    runs, spec, result = uninterrupted
    run_dir = tmp_path / "run"
    shutil.copytree(runs.folder / spec.run_id, run_dir)
    other = runs.spec(matrix_lr=0.1)
    assert prepare(run_dir, other) == "fresh"
    assert read_result(run_dir, other) is None
    assert read_result(tmp_path / f"run.{spec.fingerprint}", spec) == result
    assert prepare(run_dir, spec) == "done"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "run", f"run.{other.fingerprint}",
    ]  # fmt: skip


def test_losses_that_are_no_numbers_end_the_run(runs):
    spec = runs.spec(embedding_lr=1e30, unembedding_lr=1e30, matrix_lr=1e30)
    result = runs.train(spec)
    assert result.status == "failed_nan" and result.final_train_loss is None and result.steps < 12
    assert result.context_losses is None
    log = parse_log(runs.folder / spec.run_id / "train.log")
    assert log.status == "failed_nan" and not log.complete


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda spec: spec.model_copy(update={"shards_path": "/nowhere"}), "/nowhere"),
        (lambda spec: spec.model_copy(update={"corpus_fingerprint": "other"}), "not those of the run"),
        (lambda spec: spec.model_copy(update={"device": "cuda"}), "device cuda: this torch"),
        (lambda spec: spec.model_copy(update={"wandb_run_base": "mine"}), "-m pip install wandb, or set"),
    ],
)
def test_what_can_not_work_is_one_line_before_anything_is_trained(runs, damage, message):
    run_dir = runs.prepared(damage(runs.spec()))
    process = runs.start(run_dir)
    _, error = process.communicate()
    assert process.returncode == 1 and message in error
    assert len(error.strip().splitlines()) == 1 and error.startswith("error: ")
    assert not (run_dir / "checkpoint").exists()


def test_losses_go_to_wandb_under_one_id(runs, tmp_path):
    stand_in = """
import json, pathlib
class Error(Exception): pass
class Run:
    def __init__(self, file): self.file = file
    def log(self, numbers, step): self.file.write(json.dumps({"step": step, **numbers}) + "\\n")
    def finish(self): self.file.close()
def init(*, project, name, id, resume, dir, config):
    if name.startswith("refused"): raise Error("no key.")
    file = open(pathlib.Path(dir, "wandb.jsonl"), "a")
    file.write(json.dumps({"name": name, "id": id, "resume": resume, "steps": config["steps"]}) + "\\n")
    return Run(file)
"""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "wandb.py").write_text(stand_in)
    spec = runs.spec(wandb_run_base="mine")
    run_dir = runs.prepared(spec)
    assert runs.start(run_dir, PYTHONPATH=str(tmp_path / "site")).wait() == 0
    first, *logged = [json.loads(line) for line in (run_dir / "wandb.jsonl").read_text().splitlines()]
    assert first == {"name": f"mine_{spec.run_id}", "id": f"mine-{spec.fingerprint}", "resume": "allow", "steps": 12}
    assert [entry["step"] for entry in logged if "val/bpb" in entry] == [0, 4, 8, 9, 10, 11, 12]
    assert [entry["step"] for entry in logged if "train/loss" in entry] == list(range(12))
    refused = runs.start(runs.prepared(runs.spec(seed=1, wandb_run_base="refused")), PYTHONPATH=str(tmp_path / "site"))
    assert "W&B doesn't start: no key. Set WANDB_MODE=offline" in refused.communicate()[1]
    assert refused.returncode == 1


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"steps": 0}'])
def test_a_file_that_is_no_spec_is_refused(runs, tmp_path, text):
    (tmp_path / "spec.json").write_text(text)
    process = runs.start(tmp_path)
    assert "is not a run's spec" in process.communicate()[1] and process.returncode == 1


def test_a_run_is_timed_and_measured(uninterrupted):
    _, spec, result = uninterrupted
    assert result.dt_median_ms is not None and result.tok_per_sec_median == pytest.approx(
        spec.total_batch_size / result.dt_median_ms * 1000
    )
    assert result.peak_mem_mib is not None and result.peak_mem_mib > 100
    assert result.wall_time_sec is not None and result.wall_time_sec > (result.total_training_time_sec or 0)
