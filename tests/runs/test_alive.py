"""Whether a run is alive is proved by a lock that dies with its process; a slot is waited for politely."""

import os
import signal
import subprocess
import sys

import dagster as dg
import pytest

from laneb_assets.runs.alive import alive, is_alive
from laneb_assets.runs.dead import end_dead_runs
from laneb_assets.runs.slots import wait_for_slot

pytestmark = pytest.mark.slow

STARTED, CANCELING, QUEUED = (
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.QUEUED,
)
HOLDER = """
import sys, dagster as dg
from laneb_assets.runs.alive import hold
instance = dg.DagsterInstance.from_config(sys.argv[1])
hold(instance, sys.argv[2])
for pool in sys.argv[3:]:
    assert instance.event_log_storage.claim_concurrency_slot(pool, sys.argv[2], "step").is_claimed
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def instance(lane):
    with lane.instance() as instance:
        yield instance


def started_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STARTED) -> str:
    run = dg.DagsterRun(job_name="baselines", status=status, tags={"laneb/experiment": "micro"})
    return instance.add_run(run).run_id


def held_elsewhere(lane, run_id: str, *pools: str) -> subprocess.Popen[str]:
    """A process that shows a run to be alive, until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lane.home), run_id, *pools],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=lane.environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("status", "ended"), [(STARTED, dg.DagsterRunStatus.FAILURE), (CANCELING, dg.DagsterRunStatus.CANCELED)]
)
def test_a_killed_process_frees_its_slot_and_ends_its_run_as_was_asked_for(lane, instance, status, ended) -> None:
    run_id = started_run(instance, status)
    instance.event_log_storage.set_concurrency_slots("training", 1)
    process = held_elsewhere(lane, run_id, "training")
    assert end_dead_runs(instance, "micro") == []
    assert status_of(instance, run_id) == status
    process.kill()
    process.wait()
    assert end_dead_runs(instance, "micro") == [run_id]
    assert status_of(instance, run_id) == ended
    assert instance.event_log_storage.get_concurrency_info("training").active_slot_count == 0


def test_another_host_name_or_a_stepped_clock_kills_no_run(lane, instance, monkeypatch) -> None:
    run_id = started_run(instance)
    process = held_elsewhere(lane, run_id)
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert end_dead_runs(instance, "micro") == []
    process.kill()
    process.wait()
    assert end_dead_runs(instance, "micro") == [run_id]


def test_a_run_that_another_machine_executes_is_left_alone(instance) -> None:
    run_id = started_run(instance)
    assert is_alive(instance, run_id) is None
    assert end_dead_runs(instance, "micro") == []
    assert status_of(instance, run_id) == STARTED


def test_what_a_killed_process_made_and_never_started_is_ended(lane, instance) -> None:
    run_id = started_run(instance, dg.DagsterRunStatus.NOT_STARTED)
    process = held_elsewhere(lane, run_id)
    process.kill()
    process.wait()
    assert end_dead_runs(instance, "micro") == [run_id]
    assert status_of(instance, run_id) == dg.DagsterRunStatus.FAILURE


def test_a_slot_of_a_process_that_was_killed_before_its_run_was_on_record_is_freed(lane, instance) -> None:
    instance.event_log_storage.set_concurrency_slots("training", 1)
    process = held_elsewhere(lane, "a-run-to-come", "training")
    said: list[str] = []
    with alive(instance, "mine"):

        def kill_it(sentence: str) -> None:
            said.append(sentence)
            process.kill()
            process.wait()

        wait_for_slot(instance, "mine", "step", "training", say=kill_it)
    assert "run a-run-to, which is about to start" in said[0]
    assert instance.event_log_storage.get_concurrency_info("training").active_run_ids == {"mine"}


def test_the_slot_of_a_run_that_has_ended_is_taken_over(instance) -> None:
    instance.event_log_storage.set_concurrency_slots("training", 1)
    ended = started_run(instance, dg.DagsterRunStatus.CANCELED)
    assert instance.event_log_storage.claim_concurrency_slot("training", ended, "step").is_claimed
    wait_for_slot(instance, "mine", "step", "training", say=lambda sentence: None)
    assert instance.event_log_storage.get_concurrency_info("training").active_run_ids == {"mine"}


def test_who_waits_and_is_to_stop_claims_no_slot_that_becomes_free(instance) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("training", 1)
    other = started_run(instance)
    assert storage.claim_concurrency_slot("training", other, "step").is_claimed
    stopping: list[bool] = []

    def free_it(sentence: str) -> None:
        # The runs that train stop too, and free their slots.
        stopping.append(True)
        storage.free_concurrency_slots_for_run(other)

    with pytest.raises(KeyboardInterrupt):
        wait_for_slot(instance, "mine", "step", "training", say=free_it, should_stop=lambda: bool(stopping))
    info = storage.get_concurrency_info("training")
    assert (info.active_run_ids, info.pending_run_ids) == (set(), set())


def test_laneb_run_says_whom_it_waits_for_and_ctrl_c_ends_the_wait_at_once(lane, instance) -> None:
    """At the first asset with a pool: the tokenizer is made before."""
    instance.event_log_storage.set_concurrency_slots("training", 1)
    run_id = started_run(instance)
    holder = held_elsewhere(lane, run_id, "training")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "laneb_assets.cli", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=lane.environment() | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert waiting.stdout is not None
    try:
        lines = []
        for line in waiting.stdout:
            lines.append(line)
            if "waiting for a slot" in line:
                break
        assert f"held by run {run_id[:8]} (baselines of micro)" in " ".join("".join(lines[-2:]).split()), lines
        os.killpg(waiting.pid, signal.SIGINT)
        assert waiting.wait(10) == 130
        assert "Stopped." in waiting.stdout.read()
    finally:
        waiting.kill()
        holder.kill()
    assert instance.event_log_storage.get_concurrency_info("training").pending_step_count == 0
