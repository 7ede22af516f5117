"""Runs that are stopped, killed, shared or out of disk, against one that nothing disturbed."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from forked_python import Forked
from run_facts import facts, lines, losses, with_files_up_to
from servers import free_port
from small_runs import training_process

from laneb.corpus.shards import open_shards
from laneb.training.devices import Device
from laneb.training.interruption import Interrupted, StopRequest
from laneb.training.loop import Training
from laneb.training.reporting import Reporter
from laneb.training.run_directory import RunHeldError, held, prepare, read_result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(uninterrupted):
    """A run that is long enough to be still under way when a signal arrives."""
    runs = uninterrupted[0]
    spec = runs.spec(steps=20)
    return runs, spec, runs.train(spec)


def checkpoints(run_dir: Path) -> list[Path]:
    """How far a run got before its signal arrived is the machine's business; it keeps two, or is just dropping one."""
    return sorted((run_dir / "checkpoint").glob("step_*.pt"))


def stop_at(process: "Forked | subprocess.Popen[str]", line: str, signal_number: int) -> int:
    """Send a signal once the process has printed a line; its exit status."""
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.startswith(line):
            process.send_signal(signal_number)
            break
    process.communicate()
    return process.returncode


@pytest.mark.parametrize(
    ("signal_number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_stopped_run_ends_as_one_that_was_not(uninterrupted, signal_number, status):
    runs, spec, result = uninterrupted
    name = f"stopped_{signal_number}"
    run_dir = runs.prepared(spec, name)
    assert stop_at(runs.start_command(run_dir), "step 00007", signal_number) == status
    assert prepare(run_dir, spec) == "resume"
    assert facts(runs.train(spec, name)) == facts(result)
    assert len(lines(run_dir, "Resuming optimization from step")) == 1
    assert losses(run_dir) == losses(runs.folder / spec.run_id)
    assert lines(run_dir, "Step") == lines(runs.folder / spec.run_id, "Step")


@pytest.mark.parametrize("recipe", ["laneb", "nanochat-2026-07"])
def test_a_killed_run_of_another_recipe_ends_as_one_that_was_not(runs, recipe):
    spec = runs.spec(steps=20, recipe=recipe, window_pattern="S", depth=2)
    run_dir = runs.prepared(spec)
    assert stop_at(runs.start(run_dir), "step 00007", signal.SIGKILL) == -9
    assert facts(runs.train(spec)) == facts(runs.train(spec, "undisturbed"))
    assert losses(run_dir) == losses(runs.folder / "undisturbed")


def test_a_run_that_is_stopped_while_its_loss_by_context_is_measured_ends_as_one_that_was_not(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "stopped_at_the_end")
    stop = StopRequest()

    class StopAfterTheLastEvaluation(Reporter):
        def evaluated(self, step: int, bpb: float, seconds: float) -> None:
            super().evaluated(step, bpb, seconds)
            stop.signal_number = int(signal.SIGINT) if step == spec.steps else 0

    reporter = StopAfterTheLastEvaluation(run_dir, spec)
    shards = open_shards(spec.shards_path)
    with pytest.raises(Interrupted):
        Training(spec, run_dir, shards, Device(spec), reporter, stop).run()
    reporter.close()
    assert (run_dir / "checkpoint" / "step_00000020.pt").exists()
    assert facts(runs.train(spec, "stopped_at_the_end")) == facts(result)
    assert lines(run_dir, "Step") == lines(runs.folder / spec.run_id, "Step")


def test_a_broken_checkpoint_falls_back_to_the_one_before_with_a_warning(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "broken")
    stop_at(runs.start(run_dir), "step 00007", signal.SIGKILL)
    before, latest = checkpoints(run_dir)[-2:]
    latest.write_bytes(latest.read_bytes()[:1000])
    assert facts(runs.train(spec, "broken")) == facts(result)
    assert lines(run_dir, "Resuming") == [f"Resuming optimization from step {int(before.stem[5:])}"]
    assert f"{latest.name} can't be read" in lines(run_dir, "Warning")[0]


def test_a_log_that_was_damaged_before_a_run_goes_on_is_told_again_from_its_checkpoint(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "rotten")
    stop_at(runs.start(run_dir), "step 00007", signal.SIGKILL)
    log = run_dir / "train.log"
    # A digit of a training line, which no later reading of the whole could tell.
    log.write_text(log.read_text(encoding="utf-8").replace("loss: ", "loss: 1", 1), encoding="utf-8")
    assert facts(runs.train(spec, "rotten")) == facts(result)
    warnings = lines(run_dir, "Warning")
    assert "told from its evaluations" in warnings[0] and "train.log was damaged since step" in warnings[1]
    assert lines(run_dir, "Step") == lines(runs.folder / spec.run_id, "Step")
    assert "loss: 1" not in log.read_text(encoding="utf-8").partition("Resuming")[0]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (50_000, ".pt can't be written: File too large; step {step} is still there to resume from. Free some space"),
        (1_200, "events.jsonl can't be written: File too large. Free some space and start the run again"),
    ],
    ids=["in a checkpoint", "in the log"],
)
def test_a_full_disk_is_one_error_that_leaves_the_last_checkpoint(uninterrupted, limit, message):
    runs, spec, result = uninterrupted
    name = f"full_{limit}"
    run_dir = runs.prepared(spec, name)
    stop_at(runs.start(run_dir), "step 00004", signal.SIGKILL)
    kept = {path: path.read_bytes() for path in checkpoints(run_dir)}
    status, errors = with_files_up_to(limit, run_dir)
    assert status == 1
    said = message.format(step=int(max(kept).stem[5:]))
    assert errors.startswith("error: ") and said in errors and len(errors.splitlines()) == 1
    assert {path: path.read_bytes() for path in checkpoints(run_dir)} == kept
    assert facts(runs.train(spec, name)) == facts(result)
    assert losses(run_dir) == losses(runs.folder / spec.run_id)


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


def together(processes: int, *arguments: str) -> list[tuple[str, str]]:
    """What each of several processes of a run printed, told its place as torchrun tells it."""
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    started = [training_process(arguments, place | rank) for rank in ranks]
    return [process.communicate() for process in started]


def test_two_processes_train_as_one(uninterrupted):
    runs, spec, result = uninterrupted
    run_dir = runs.prepared(spec, "two")
    ended = together(2, "-m", "laneb.training", str(run_dir / "spec.json"))
    shared = read_result(run_dir, spec)
    assert shared is not None, ended
    assert [point.step for point in shared.val_curve] == [point.step for point in result.val_curve]
    for ours, theirs in zip(shared.val_curve, result.val_curve, strict=True):
        assert ours.bpb == pytest.approx(theirs.bpb, rel=1e-3)
    for one, other in zip(shared.context_losses.curve, result.context_losses.curve, strict=True):
        assert one == pytest.approx(other, rel=1e-2)
    assert len(lines(run_dir, "Step")) == len(result.val_curve)


def test_processes_orthogonalise_each_its_share_and_all_have_the_whole(runs):
    spec = runs.spec(total_batch_size=192, recipe="nanochat-2026-07")
    script = Path(__file__).with_name("shared_work.py")
    ended = together(3, str(script), str(runs.prepared(spec) / "spec.json"), "7", "2")
    # Of 7 matrices each takes three at most, of 2 one.
    assert [said for said, _ in ended] == ["own 3 and 1\n", "own 3 and 1\n", "own 1 and 0\n"], ended


def test_a_killed_process_ends_the_others_and_says_so(runs):
    spec = runs.spec(steps=4000)
    run_dir = runs.prepared(spec)
    launcher = runs.start_command(run_dir, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert launcher.stdout is not None
    while not launcher.stdout.readline().startswith("step 00020"):
        assert launcher.poll() is None
    leader = int(json.loads(run_dir.with_name(f".{run_dir.name}.holder").read_text())["pid"])
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (other,) = [int(child) for child in children if int(child) != leader]
    os.kill(other, signal.SIGKILL)
    said = launcher.communicate()[1]
    assert launcher.returncode == 1
    assert "error: another process of the run ended, or can't be reached any more" in said
    assert "Signal 9 (SIGKILL) received" in said
    assert prepare(run_dir, spec) == "resume"
