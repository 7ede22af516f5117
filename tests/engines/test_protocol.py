"""Both sides of a run on an engine, with this machine's processes as the engine: what is lost, stalls or comes back."""

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from servers import until
from small_runs import Runs, write_shards
from undisturbed import Story, Undisturbed

from laneb.engines import CancelledError, EngineError, train
from laneb.engines import job as jobs
from laneb.engines.published import checkpoint_step, node_lease
from laneb.storage import shared
from laneb.training.backends.simulated import simulate
from laneb.training.interruption import StopRequest
from laneb.training.surface import Surface


def node_of(work) -> psutil.Process:
    """The node's process on a run."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if {str(work.run), "laneb.engines.node"} <= set(process.cmdline()):
                return process
    raise AssertionError("no node is at work on the run")


def signalled(work, number: int) -> None:
    """Send a signal to the node and its training process."""
    node = node_of(work)
    for process in [node, *node.children(recursive=True)]:
        process.send_signal(number)


def written(run: Path) -> dict[str, tuple[int, int]]:
    """Each file below a directory, and when it was last written: what is written again may say the same."""
    files = {name: (run / name).stat() for name in shared.names_below(run)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in files.items()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nothing disturbed, without training: for what is about who trains it. Each takes two seconds."""
    folder = tmp_path_factory.mktemp("drawn")
    runs = Runs(folder / "runs", write_shards(folder / "shards"))
    surface = Surface(seconds_per_step=0.01, pace=1.0)
    spec = runs.spec(backend="simulated", steps=200, eval_every=50).model_copy(update={"surface": surface})
    return Undisturbed(runs, spec, simulate(spec, runs.prepared(spec), StopRequest()))


def test_a_run_is_trained_once_whoever_asks_from_whichever_machine(drawn, shared_place, tmp_path):
    work, story = drawn.work(shared_place, tmp_path / "one"), Story()
    drawn.is_equalled_by(story.train(work), work.mirror)
    steps = [event["step"] for event in story.events if event["event"] == "step"]
    assert steps == sorted(set(steps)) and len(steps) > 50
    assert [event["event"] for event in story.events if event["event"] in ("start", "end")] == ["start", "end"]
    scratch = tmp_path / "one" / "scratch"
    until(lambda: not list(scratch.glob("laneb-run-*")), what="the node, which publishes first, clears its scratch")
    job = jobs.read_job(work.run)
    other = drawn.work(shared_place, tmp_path / "other", python=sys.executable)
    drawn.is_equalled_by(train(other), other.mirror)
    assert jobs.read_job(work.run) == job


def test_a_run_that_was_cancelled_and_then_lost_its_node_ends_as_one_that_was_not(undisturbed, bucket, tmp_path):
    work, stop = undisturbed.work(bucket, tmp_path), threading.Event()
    story = Story(80, stop.set)
    with pytest.raises(CancelledError, match="was told to stop; its checkpoint is kept"):
        train(work, on_event=story.event, should_stop=stop.is_set)
    kept = checkpoint_step(work.run)
    assert kept >= 80
    assert not node_lease(work.run, 60).is_alive()

    def lose_the_node() -> None:
        # What was not published when the node is lost is trained again: here something was.
        for process in node_of(work).children(recursive=True):
            process.suspend()
        until(lambda: checkpoint_step(work.run) > kept, 60, "a later checkpoint is published")
        signalled(work, signal.SIGKILL)

    again = Story(kept + 40, lose_the_node)
    undisturbed.is_equalled_by(again.train(work), work.mirror)
    first, second = again.resumed_from()
    assert first == kept < second
    assert [event["event"] for event in again.events].count("start") == 1
    assert any("ended without a result; starting it again" in sentence for sentence in again.said)
    assert checkpoint_step(work.run) == 0


def test_a_node_that_stalls_is_taken_over_and_writes_nothing_when_it_wakes(drawn, tmp_path):
    work = drawn.work(tmp_path, tmp_path)
    stalled: list[psutil.Process] = []

    def stall() -> None:
        node = node_of(work)
        stalled.append(node)
        for process in [*node.children(recursive=True), node]:
            process.suspend()
        # The engine lost sight of it, as Slurm does of a node that doesn't answer: the coordinator starts another.

    story, results = Story(60, stall), []
    coordinator = threading.Thread(target=lambda: results.append(story.train(work)), daemon=True)
    coordinator.start()
    until(lambda: stalled, what="the node stalls")
    job = jobs.read_job(work.run)
    assert job is not None
    node = [sys.executable, "-m", "laneb.engines.node", str(work.run)]
    replacement = psutil.Popen(node, stdout=subprocess.DEVNULL)
    assert replacement.wait() == 0
    coordinator.join(30)
    drawn.is_equalled_by(results[0], work.mirror)
    before = written(work.run)
    # The node ends its training process as soon as it wakes.
    for process in [*stalled[0].children(recursive=True), stalled[0]]:
        process.resume()
    assert stalled[0].wait(30) == 75
    assert written(work.run) == before


COORDINATOR = """
import sys
from pathlib import Path
from laneb.engines import Work, train
from laneb.knobs import EngineKnobs, TrainingKnobs
from laneb.training.spec import RunSpec
spec, run, knobs = sys.argv[1:]
spec = RunSpec.model_validate_json(spec)
train(Work(spec, Path(run), Path(run), TrainingKnobs(), EngineKnobs.model_validate_json(knobs)), on_event=print)
"""


def test_a_coordinator_that_died_is_followed_by_one_that_attaches_to_its_job(drawn, tmp_path):
    start = "bash -c 'setsid {command} --incarnation {name} >/dev/null 2>&1 &'"
    look = "pgrep -f {name}"
    work = drawn.work(tmp_path, tmp_path, engine="command", args=start, state_command=look, lease_seconds=1)
    arguments = [work.spec.model_dump_json(), str(work.run), work.engine.model_dump_json()]
    coordinator = psutil.Popen([sys.executable, "-c", COORDINATOR, *arguments], stdout=subprocess.PIPE, text=True)
    for line in coordinator.stdout:
        if "'step': 20," in line:
            break
    coordinator.kill()
    job, story = jobs.read_job(work.run), Story()
    drawn.is_equalled_by(story.train(work), work.mirror)
    assert jobs.read_job(work.run) == job
    assert any("is at it already; following it" in sentence for sentence in story.said)
    assert story.resumed_from() == []


def test_what_another_start_would_not_mend_is_said_at_once(drawn, tmp_path):
    spec = drawn.spec.model_copy(update={"corpus_fingerprint": "another"})
    work = drawn.work(tmp_path, tmp_path)
    work = type(work)(spec, work.run, work.mirror, work.training, work.engine)
    with pytest.raises(EngineError, match=r"seed 41\).*holds no whole token shards of the run"):
        train(work)
    job = jobs.read_job(work.run)
    assert job is not None and job.attempt == 1


def test_a_node_that_never_comes_to_train_is_given_up(drawn, tmp_path):
    work, story = drawn.work(tmp_path, tmp_path, python="/bin/false"), Story()
    with pytest.raises(EngineError, match="3 starts in a row ended without a new checkpoint"):
        story.train(work)
