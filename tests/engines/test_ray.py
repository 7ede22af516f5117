"""Runs on a Ray cluster of three machines: whatever becomes of a job, the run ends as one that nothing disturbed."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from ray_cluster import Cluster, cluster, missing
from servers import free_port
from undisturbed import Story, processes_of, told_at_once

from laneb.engines import CancelledError, EngineError, engine_for, train
from laneb.engines import job as jobs
from laneb.engines.engine import EngineSilentError
from laneb.engines.published import checkpoint_step
from laneb.knobs import EngineKnobs, TrainingKnobs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


def a_run_that_is_cancelled_and_then_killed_goes_on_each_time(undisturbed, ray, folder):
    work, stop = undisturbed.work(folder, folder, engine="ray", args="num_cpus=0.5 even=0.2"), threading.Event()
    story = Story(60, stop.set)
    with pytest.raises(CancelledError):
        train(work, on_event=story.event, should_stop=stop.is_set)
    kept = checkpoint_step(work.run)
    assert kept >= 60
    assert engine_for(work.engine).state(jobs.read_job(work.run).name) == "cancelled"

    again = Story(kept + 40, lambda: [process.kill() for process in processes_of(work)])
    undisturbed.is_equalled_by(again.train(work), work.mirror)
    cancelled, killed = again.resumed_from()
    assert cancelled == kept < killed
    # A job that Ray is too busy to start is asked for once more.
    assert jobs.read_job(work.run).attempt >= 3
    assert any("ended without a result; starting it again" in sentence for sentence in again.said)


def a_run_whose_machine_is_lost_goes_on_when_another_is_there(undisturbed, ray, folder):
    work = undisturbed.work(folder, folder, engine="ray", args="num_cpus=1 odd=1")

    def lose_the_machine() -> None:
        ray.lose_machine(1)
        ray.start_machine(1)

    story = Story(60, lose_the_machine)
    undisturbed.is_equalled_by(story.train(work), work.mirror)
    assert len(story.resumed_from()) == 1


def processes_of_one_machine_train_one_run_under_torchrun(undisturbed, ray, folder):
    training = TrainingKnobs(launcher="torchrun", launcher_args="--standalone --nproc-per-node=2")
    work, stop = undisturbed.work(folder, folder, training, engine="ray", args="num_cpus=1 even=0.2"), threading.Event()
    story = Story(60, stop.set)
    with pytest.raises(CancelledError):
        train(work, on_event=story.event, should_stop=stop.is_set)
    kept = checkpoint_step(work.run)
    again = Story()
    undisturbed.is_near(again.train(work), work.mirror)
    assert kept >= 60 and again.resumed_from() == [kept]


def machines_train_one_run_under_torchrun(undisturbed, ray, folder):
    training = TrainingKnobs(launcher="torchrun", launcher_args="--nproc-per-node=1")
    work = undisturbed.work(folder, folder, training, engine="ray", args="num_cpus=0.5 even=0.2 nodes=2")
    undisturbed.is_near(train(work), work.mirror)


def a_run_that_waits_longer_than_ray_lets_a_job_wait_is_queued_again(undisturbed, ray, folder):
    work, story = undisturbed.work(folder, folder, engine="ray", args="num_cpus=0.1 nowhere=1"), Story()

    def has_waited_twice() -> bool:
        return sum("got no place for as long as" in sentence for sentence in story.said) == 2

    with pytest.raises(CancelledError):
        train(work, say=story.said.append, should_stop=has_waited_twice)
    job = jobs.read_job(work.run)
    assert (job.attempt, job.fruitless) == (3, 0)


STORIES = (
    a_run_whose_machine_is_lost_goes_on_when_another_is_there,
    a_run_that_is_cancelled_and_then_killed_goes_on_each_time,
    processes_of_one_machine_train_one_run_under_torchrun,
    machines_train_one_run_under_torchrun,
    a_run_that_waits_longer_than_ray_lets_a_job_wait_is_queued_again,
)


@pytest.fixture(scope="module")
def ray() -> Iterator[Cluster]:
    with cluster(3) as made:
        yield made


@pytest.fixture(scope="module")
def stories(undisturbed, ray, tmp_path_factory) -> Iterator[dict[object, "Future[None]"]]:
    yield from told_at_once(STORIES, ray.threads(len(STORIES)), undisturbed, ray, tmp_path_factory)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_on_ray(story, stories):
    stories[story].result()


def test_a_dashboard_that_is_away_and_arguments_that_are_none_are_said_with_what_to_do():
    nowhere = EngineKnobs(engine="ray", address=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(EngineSilentError, match=r"does not answer .*set LANE_B_ENGINE_ADDRESS to its dashboard"):
        engine_for(nowhere).state("laneb-x")
    with pytest.raises(EngineError, match=r"LANE_B_ENGINE_ARGS=gpus: Ray takes numbers, such as: num_gpus=8"):
        engine_for(EngineKnobs(engine="ray", args="gpus"))
    with pytest.raises(EngineError, match=r"LANE_B_ENGINE_ARGS=nodes=-2: Ray takes numbers"):
        engine_for(EngineKnobs(engine="ray", args="num_cpus=1 nodes=-2"))
