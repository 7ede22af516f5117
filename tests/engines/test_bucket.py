"""A lane whose work directory is a bucket: whole, shared by machines, and clear about what is wrong with it."""

import dataclasses
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import free_port, until
from undisturbed import Story

from laneb.corpus.sources import find_source
from laneb.places import PlaceError
from laneb.settings import load_settings
from laneb.storage import shared
from laneb.storage.lease import Lease
from laneb.storage.results import read_results, results_fingerprint
from laneb.storage.work_dir import LOCK
from laneb_assets.automation.runs import busy
from laneb_assets.commands.results import import_command
from laneb_assets.lane_run.steps import Step
from laneb_assets.lane_run.walk import run_lane

pytestmark = pytest.mark.slow


def run(lane, before: Callable[[Step], object] = lambda step: None) -> list[str]:
    """Run a lane; the labels of what was made."""
    made: list[str] = []

    def begins(step: Step) -> None:
        made.append(step.label)
        before(step)

    with lane.instance() as instance:
        outcomes = run_lane(lane.settings, instance, before=begins, after=lambda outcome: None)
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    return made


def contents(place) -> dict[str, bytes]:
    return {name: shared.read_or_none(place / name) for name in shared.names_below(place)}


def stall(server: int, seconds: float) -> None:
    """Stop a server's process, and let it go on after a while."""
    os.kill(server, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (server, signal.SIGCONT)).start()


def test_a_server_that_stalls_in_the_middle_of_a_run_is_waited_for(undisturbed, bucket, tmp_path, s3_server):
    work = undisturbed.work(bucket, tmp_path)
    story = Story(100, lambda: stall(int(s3_server["SERVER_PID"]), 2 * work.engine.lease_seconds))
    undisturbed.is_equalled_by(story.train(work), work.mirror)


def test_a_second_machine_on_the_bucket_trains_nothing_and_comes_to_the_same(
    simulated_lane, bucket, monkeypatch, tmp_path, s3_server
):
    monkeypatch.setenv("LANE_B_WORK_DIR", f"{bucket}/lane")
    few = {"BASELINE_SEEDS": "41,42", "BASELINE_MIN_SUCCESS": "2", "CALIB_SEEDS": "41", "RUN_SEEDS": "41"}
    few |= {"EVAL_EVERY_LATE": "40"}
    for name, value in few.items():
        monkeypatch.setenv(f"LANE_B_{name}", value)
    server = int(s3_server["SERVER_PID"])
    made = run(simulated_lane, before=lambda step: stall(server, 20) if step.label == "baseline_runs [42]" else None)
    assert "baseline_runs [41]" in made and "lane_b_summary" in made
    runs = contents(bucket / "lane" / "runs")
    assert sum(name.endswith("/result.json") for name in runs) >= 4
    other = dataclasses.replace(simulated_lane)
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(tmp_path / "other"))
    home = tmp_path / "other_home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((simulated_lane.home / "dagster.yaml").read_bytes())
    monkeypatch.setattr(type(other), "home", property(lambda self: home))
    before = {name: shared.read_or_none(bucket / "lane" / name) for name in ("infer.json", "verdict.json")}
    assert "baseline_runs [41]" in run(other)
    jobs = {name: data for name, data in runs.items() if name.endswith(("job.json", "result.json", "train.log"))}
    assert jobs.items() <= contents(bucket / "lane" / "runs").items()
    kept = {name: shared.read_or_none(bucket / "lane" / name) for name in before}
    assert [data and len(data) for data in kept.values()] == [data and len(data) for data in before.values()]


def without_locks(lane, monkeypatch) -> None:
    """As on NFS without its lock service, for the lock of `laneb run`."""
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == LOCK:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("place", ["bucket", "folder without locks"])
def test_one_laneb_run_at_a_time_where_there_is_no_lock_for_all(simulated_lane, place, request, monkeypatch):
    work_dir = simulated_lane.settings.locations.work_dir
    if place == "bucket":
        work_dir = request.getfixturevalue("bucket") / "lane"
        monkeypatch.setenv("LANE_B_WORK_DIR", str(work_dir))
    else:
        without_locks(simulated_lane, monkeypatch)
    monkeypatch.setenv("LANE_B_LEASE_SECONDS", "1")
    lease = Lease(work_dir / ".leases" / "laneb_run", 1, holder="process 7 on another machine")
    assert lease.take()
    with lease.beating(), pytest.raises(ValueError, match=r"another laneb run is at work: .*process 7 on another"):
        run(simulated_lane)
    # Nor does a sensor start anything meanwhile, until the holder gives it back or is gone.
    with simulated_lane.instance() as instance:
        assets = simulated_lane.assets()[0]
        assert busy(assets, instance) is None
        assert Lease(work_dir / ".leases" / "laneb_run", 1, holder="process 8 on a third").take()
        assert busy(assets, instance) == "laneb run is at work on this experiment: process 8 on a third"
        until(lambda: busy(assets, instance) is None, 10, "its count has stood still")

    def stop(step: Step) -> None:
        assert lease.holder().startswith(f"process {os.getpid()} on ")
        raise KeyboardInterrupt

    with simulated_lane.instance() as instance, pytest.raises(KeyboardInterrupt):
        run_lane(simulated_lane.settings, instance, before=stop, after=lambda outcome: None)
    assert lease.current().released


def test_a_bucket_that_can_not_be_used_is_one_sentence_at_once(bucket, monkeypatch):
    monkeypatch.setenv("LANE_B_WORK_DIR", "s3://no-such-bucket-of-ours/lane")
    with pytest.raises(PlaceError, match=r"there is no bucket no-such-bucket-of-ours\. Make it, or correct its name"):
        load_settings("tiny")
    assert not bucket.fs.exists("no-such-bucket-of-ours")
    with pytest.raises(ValueError, match=r"no such bucket|no-such-bucket-of-ours"):
        shared.replace(type(bucket)("s3://no-such-bucket-of-ours/lane/file"), b"text")
    assert not bucket.fs.exists("no-such-bucket-of-ours")
    for variable in ("NANOCHAT_BASE_DIR", "LANE_B_DUCKDB_PATH"):
        with pytest.raises(PlaceError, match=f"{variable}=s3://b/x: this is a folder of this machine"):
            load_settings("tiny", environ={variable: "s3://b/x"})


def test_an_endpoint_that_does_not_answer_is_one_sentence(monkeypatch, tmp_path):
    pytest.importorskip("s3fs")
    script = (
        "from laneb.settings import load_settings\ntry: load_settings('tiny')\nexcept ValueError as error: print(error)"
    )
    environment = {
        **os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret", "LANE_B_WORK_DIR": "s3://lane/work",
    }  # fmt: skip
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert "s3://lane/work: the bucket doesn't answer" in said.stdout and len(said.stdout.splitlines()) == 1


def test_text_in_a_bucket_is_copied_once_and_again_where_it_changed(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, text in (("a.txt", "one"), ("deep/b.txt", "two"), ("c.bin", "no text")):
        shared.replace(bucket / "corpus" / name, text.encode())
    source = find_source(f"{bucket}/corpus")
    assert [file.name for file in source.files] == ["a.txt", "deep/b.txt"] and source.dataset_id == "corpus"
    copied = source.files[0].path.stat().st_mtime_ns
    shared.replace(bucket / "corpus" / "deep" / "b.txt", b"longer")
    shared.remove(bucket / "corpus" / "c.bin")
    again = find_source(f"{bucket}/corpus")
    assert again.files[0].path.stat().st_mtime_ns == copied
    assert again.files[1].path.read_text() == "longer"
    assert [file.name for file in find_source(f"{bucket}/corpus/*.txt").files] == ["a.txt"]
    assert find_source(f"{bucket}/corpus/a.txt").files[0].path.read_text() == "one"
    with pytest.raises(ValueError, match="no such file or folder"):
        find_source(f"{bucket}/nothing")


def test_baselines_are_imported_from_a_bucket(finished_simulated_lane, bucket, monkeypatch, capsys):
    settings = finished_simulated_lane.settings
    results = settings.locations.baseline_results_dir
    for path in results.iterdir():
        shared.upload(path, bucket / "results" / path.name)
    import_command(f"{bucket}/results", str(finished_simulated_lane.profile), None)
    assert "are now those of s3://" in capsys.readouterr().out
    settings = finished_simulated_lane.settings
    assert settings.baseline.source == "directory"
    assert list(read_results(settings.locations.baseline_results_csv)["seed"]) == list(settings.baseline.seeds)
    assert results_fingerprint(settings.locations) is not None
