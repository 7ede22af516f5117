"""Whole training processes on a model of one layer."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from laneb.records.runs import RunResult
from laneb.training.log import parse_log
from laneb.training.run_directory import RunHeldError, held, prepare, read_result

CPU_ERROR = 1e-5


def facts(result: RunResult) -> dict[str, object]:
    """What a result says that no clock has a say in."""
    said = result.model_dump(exclude=set(result.volatile))
    return said | {"val_curve": [(point.step, point.bpb) for point in result.val_curve]}


def lines(run_dir: Path, start: str) -> list[str]:
    return [line for line in (run_dir / "train.log").read_text().splitlines() if line.startswith(start)]


def losses(run_dir: Path) -> list[str]:
    """Step and running loss of every update in the log."""
    return [line.split(" | ")[0] + line.split(" | ")[1] for line in lines(run_dir, "step")]


def stop_at(process: "subprocess.Popen[str]", line: str, signal_number: int) -> int:
    """Send a signal once the process has printed a line; its exit status."""
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.startswith(line):
            process.send_signal(signal_number)
            break
    process.communicate()
    return process.returncode


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


def test_events_tell_how_far_a_run_is(uninterrupted):
    runs, spec, _ = uninterrupted
    text = (runs.folder / spec.run_id / "events.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events if event["event"] in ("start", "end")] == ["start", "end"]
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(12))
    last = [event for event in events if event["event"] == "step"][-1]
    assert set(last) == {"event", "step", "steps", "loss", "tok_per_sec", "seconds", "eta_sec"}
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


@pytest.mark.parametrize(
    ("signal_number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_stopped_run_ends_as_one_that_was_not(uninterrupted, signal_number, status):
    runs, spec, result = uninterrupted
    name = f"stopped_{signal_number}"
    run_dir = runs.prepared(spec, name)
    assert stop_at(runs.start(run_dir), "step 00007", signal_number) == status
    assert prepare(run_dir, spec) == "resume"
    assert facts(runs.train(spec, name)) == facts(result)
    assert len(lines(run_dir, "Resuming optimization from step")) == 1
    assert losses(run_dir) == losses(runs.folder / spec.run_id)
    assert lines(run_dir, "Step") == lines(runs.folder / spec.run_id, "Step")


def test_a_broken_checkpoint_falls_back_to_the_one_before_with_a_warning(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "broken")
    stop_at(runs.start(run_dir), "step 00007", signal.SIGKILL)
    kept = sorted((run_dir / "checkpoint").iterdir())
    assert [path.name for path in kept] == ["step_00000003.pt", "step_00000006.pt"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:1000])
    assert facts(runs.train(spec, "broken")) == facts(result)
    assert lines(run_dir, "Resuming") == ["Resuming optimization from step 3"]
    assert "step_00000006.pt can't be read" in lines(run_dir, "Warning")[0]


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


def test_a_directory_has_one_process_at_a_time(runs):
    spec = runs.spec()
    run_dir = runs.prepared(spec)
    with held(run_dir):
        with pytest.raises(RunHeldError, match="is being trained by process"):
            prepare(run_dir, spec)
        refused = runs.start(run_dir)
        assert "is being trained by process" in refused.communicate()[1]
        assert refused.returncode == 75
    assert prepare(run_dir, spec) == "fresh"


def test_losses_that_are_no_numbers_end_the_run(runs):
    spec = runs.spec(embedding_lr=1e30, unembedding_lr=1e30, matrix_lr=1e30)
    result = runs.train(spec)
    assert result.status == "failed_nan" and result.final_train_loss is None and result.steps < 12
    log = parse_log(runs.folder / spec.run_id / "train.log")
    assert log.status == "failed_nan" and not log.complete


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda spec: spec.model_copy(update={"shards_path": "/nowhere"}), "/nowhere"),
        (lambda spec: spec.model_copy(update={"corpus_fingerprint": "other"}), "not those of the run"),
        (lambda spec: spec.model_copy(update={"device": "cuda"}), "device cuda: this torch"),
        (lambda spec: spec.model_copy(update={"wandb_run_base": "mine"}), "pip install 'laneb[wandb]'"),
    ],
)
def test_what_can_not_work_is_one_line_before_anything_is_trained(runs, damage, message):
    run_dir = runs.prepared(damage(runs.spec()))
    process = runs.start(run_dir)
    _, error = process.communicate()
    assert process.returncode == 1 and message in error
    assert len(error.strip().splitlines()) == 1 and error.startswith("error: ")
    assert not (run_dir / "checkpoint").exists()


def test_a_checkpoint_that_can_not_be_written_leaves_the_one_before(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "full")
    stop_at(runs.start(run_dir), "step 00004", signal.SIGKILL)
    script = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        f"sys.argv[1:] = [{str(run_dir / 'spec.json')!r}]; runpy.run_module('laneb.training', run_name='__main__')"
    )
    full = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert "step_00000006.pt can't be written: File too large; step 3 is still there" in full.stderr
    assert [path.name for path in (run_dir / "checkpoint").iterdir()] == ["step_00000003.pt"]
    assert facts(runs.train(spec, "full")) == facts(result)


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


def test_two_processes_train_as_one(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = ["-m", "laneb.training", str(run_dir / "spec.json")]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    shared = read_result(run_dir, spec)
    assert shared is not None, ended.stderr
    assert [point.step for point in shared.val_curve] == [point.step for point in result.val_curve]
    for ours, theirs in zip(shared.val_curve, result.val_curve, strict=True):
        assert ours.bpb == pytest.approx(theirs.bpb, rel=1e-3)
    assert len(lines(run_dir, "Step")) == len(result.val_curve)


def test_a_run_is_timed_and_measured(uninterrupted):
    _, spec, result = uninterrupted
    assert result.dt_median_ms is not None and result.tok_per_sec_median == pytest.approx(
        spec.total_batch_size / result.dt_median_ms * 1000
    )
    assert result.peak_mem_mib is not None and result.peak_mem_mib > 100
    assert result.wall_time_sec is not None and result.wall_time_sec > (result.total_training_time_sec or 0)
