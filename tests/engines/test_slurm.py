"""Runs on Slurm's own daemons: whatever Slurm does to a job, the run ends as one that nothing disturbed."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from run_facts import lines
from servers import free_port, until
from slurm_cluster import Cluster, cluster, jobs_of, missing
from undisturbed import Story

from laneb.engines import CancelledError, EngineError, engine_for, train
from laneb.engines import job as jobs
from laneb.engines.published import checkpoint_step
from laneb.knobs import EngineKnobs, TrainingKnobs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


def a_run_that_is_preempted_and_then_warned_of_its_time_limit_ends_as_if_it_were_not(undisturbed, slurm, folder):
    work = undisturbed.work(folder, folder, engine="slurm", args="--nodelist=n1 --exclusive --ntasks=1")
    urgent = ["sbatch", "--partition=high", "--nodelist=n1", "--exclusive", "--output=/dev/null", "--wrap=true"]

    def warn_as_slurm_does_before_a_time_limit() -> None:
        until(lambda: story.resumed_from(), 60, "the run goes on after the preemption")
        until(lambda: int(str(story.events[-1].get("step", 0))) >= 200, 60, "the run passes step 200")
        slurm.ask("scancel", "--signal=TERM", f"--name={jobs.read_job(work.run).name}")

    warning = threading.Thread(target=warn_as_slurm_does_before_a_time_limit)
    story = Story(60, lambda: (subprocess.run(urgent, check=True, capture_output=True), warning.start()))
    undisturbed.is_equalled_by(story.train(work), work.mirror)
    warning.join()
    # Slurm may preempt it once more, when its grace for the first time is over.
    preempted, *_, warned = story.resumed_from()
    assert 60 <= preempted < 200 <= warned < work.spec.steps


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
    result = train(work)
    for ours, theirs in zip(result.val_curve, undisturbed.result.val_curve, strict=True):
        assert ours.step == theirs.step and ours.bpb == pytest.approx(theirs.bpb, rel=2e-3)
    assert "2 process(es)" in lines(work.mirror, "Device:")[0]


STORIES = (
    a_run_that_is_preempted_and_then_warned_of_its_time_limit_ends_as_if_it_were_not,
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
    """All at once, since most of each is Slurm's waiting."""
    with ThreadPoolExecutor(len(STORIES)) as threads:
        yield {story: threads.submit(story, undisturbed, slurm, tmp_path_factory.mktemp("story")) for story in STORIES}


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
