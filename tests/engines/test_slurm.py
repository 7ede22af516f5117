"""Runs on Slurm's own daemons: whatever Slurm does to a job, the run ends as one that nothing disturbed."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from servers import free_port, until
from slurm_cluster import Cluster, cluster, jobs_of, missing
from undisturbed import Story, processes_of, told_at_once

from laneb.engines import CancelledError, EngineError, engine_for, train
from laneb.engines import job as jobs
from laneb.engines.published import checkpoint_step
from laneb.knobs import EngineKnobs, TrainingKnobs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


def a_run_that_is_preempted_ends_as_if_it_were_not(undisturbed, slurm, folder):
    work = undisturbed.work(folder, folder, engine="slurm", args="--nodelist=n1 --exclusive --ntasks=1")
    urgent = ["sbatch", "--partition=high", "--nodelist=n1", "--exclusive", "--output=/dev/null", "--wrap=true"]
    story = Story(60, lambda: subprocess.run(urgent, check=True, capture_output=True))
    undisturbed.is_equalled_by(story.train(work), work.mirror)
    # Slurm may preempt it once more, when its grace for the first time is over.
    assert 60 <= story.resumed_from()[0] < work.spec.steps


def a_run_that_slurm_warns_of_its_time_limit_goes_on_in_its_next_turn(undisturbed, slurm, folder):
    # Slurm counts limits in whole minutes and looks at them every 30 s: training is held until its warning is there.
    work = undisturbed.work(folder, folder, engine="slurm", args="--nodelist=n2 --ntasks=1 --time=30 --signal=TERM@115")

    def hold_until_warned() -> None:
        (training,) = [p for p in processes_of(work) if "laneb.training" in p.cmdline()]
        training.suspend()
        until(lambda: training.status() == psutil.STATUS_STOPPED, 60, "training to stand still")
        number = re.search(r"Slurm job (\d+)", " ".join(story.said))[1]
        minutes = int(slurm.ask("squeue", "--noheader", f"--jobs={number}", "--format=%M").strip().split(":")[-2])
        slurm.ask("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes + 2}")
        until(lambda: is_told_to_stop(training), 60, "Slurm's warning of the time limit")
        slurm.ask("scontrol", "update", f"JobId={number}", "TimeLimit=30")
        with contextlib.suppress(psutil.NoSuchProcess):
            training.resume()

    story = Story(60, hold_until_warned)
    undisturbed.is_equalled_by(story.train(work), work.mirror)
    assert 60 <= story.resumed_from()[0] < work.spec.steps
    assert jobs.read_job(work.run).attempt == 1


def is_told_to_stop(process: psutil.Process) -> bool:
    """Whether a SIGTERM waits for a process that was suspended. Slurm lets it go on for its warning, so it may act on
    it, or have ended by it, before anyone looks."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        moves = process.status() != psutil.STATUS_STOPPED
    except (FileNotFoundError, psutil.NoSuchProcess):
        return True
    waiting = [int(mask, 16) for mask in re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)", status, re.MULTILINE)]
    return moves or any(mask >> (signal.SIGTERM - 1) & 1 for mask in waiting)


def a_run_that_is_cancelled_keeps_a_checkpoint_and_frees_its_place(undisturbed, slurm, folder):
    work, stop = undisturbed.work(folder, folder, engine="slurm", args="--nodelist=n2 --ntasks=1"), threading.Event()
    story = Story(60, stop.set)
    with pytest.raises(CancelledError):
        train(work, on_event=story.event, should_stop=stop.is_set)
    kept = checkpoint_step(work.run)
    assert kept >= 60
    assert engine_for(work.engine).state(jobs.read_job(work.run).name) not in ("queued", "running")
    again = Story()
    undisturbed.is_equalled_by(again.train(work), work.mirror)
    assert again.resumed_from() == [kept]
    assert any(sentence.startswith("d1_i400_s41: Slurm job") for sentence in again.said)


def a_run_whose_node_is_lost_goes_on_elsewhere(undisturbed, slurm, folder):
    work = undisturbed.work(folder, folder, engine="slurm", args="--exclude=n1,n2,n4,n5 --ntasks=1")

    def lose_the_node() -> None:
        name = jobs.read_job(work.run).name
        number = slurm.ask("squeue", "--noheader", f"--name={name}", "--format=%N").strip()[1:]
        daemon = slurm.daemons[f"slurmd{number}"]
        for pid in (daemon.pid, *jobs_of(slurm.folder, number)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait()

    story = Story(60, lose_the_node)
    undisturbed.is_equalled_by(story.train(work), work.mirror)
    assert len(story.resumed_from()) == 1


def two_nodes_train_one_run_under_torchrun(undisturbed, slurm, folder):
    training = TrainingKnobs(launcher="torchrun", launcher_args="--nproc-per-node=1")
    work = undisturbed.work(folder, folder, training, engine="slurm", args="--nodes=2 --exclude=n1,n2,n3,n6")
    undisturbed.is_near(train(work), work.mirror)


STORIES = (
    a_run_that_is_preempted_ends_as_if_it_were_not,
    a_run_that_slurm_warns_of_its_time_limit_goes_on_in_its_next_turn,
    a_run_that_is_cancelled_keeps_a_checkpoint_and_frees_its_place,
    a_run_whose_node_is_lost_goes_on_elsewhere,
    two_nodes_train_one_run_under_torchrun,
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm"), [free_port() for _ in range(7)]) as made:
        yield made


@pytest.fixture(scope="module")
def stories(undisturbed, slurm, tmp_path_factory) -> Iterator[dict[object, "Future[None]"]]:
    yield from told_at_once(STORIES, ThreadPoolExecutor(len(STORIES)), undisturbed, slurm, tmp_path_factory)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_on_slurm(story, stories):
    stories[story].result()


def test_what_sbatch_refuses_is_said_in_its_own_words(undisturbed, slurm, tmp_path):
    work = undisturbed.work(tmp_path, tmp_path, engine="slurm", args="--partition=nowhere")
    with pytest.raises(EngineError, match=r"sbatch refused laneb-d1-i400-s41-\w+-1: .*invalid partition"):
        train(work)


def test_without_slurm_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        EngineError, match=r"squeue: no such command here\. Run on a machine of the cluster that has it"
    ):
        engine_for(EngineKnobs(engine="slurm")).state("laneb-x")
