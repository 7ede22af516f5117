"""The console script as people meet it: exit codes, one or two lines of error, and output that scripts can read."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from server import wait_until

from laneb.storage.schema_table import SCHEMA_COLUMNS, row_from_values
from laneb_assets.cli import cli


def laneb(lane, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "laneb_assets.cli", *arguments]
    environment = lane.environment() | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=lane.folder, check=False)


def empty_file(lane) -> str:
    path = lane.folder / "empty.txt"
    path.touch()
    return str(path)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LANE_B_RUN_SEEDS": "41;42"}, "LANE_B_RUN_SEEDS"),
        ({"LANE_B_DEPHT": "2"}, "Did you mean LANE_B_DEPTH?"),
        ({"LANE_B_CALIB_ITERS": "0,10"}, "LANE_B_CALIB_ITERS"),
        ({"LANE_B_BASELINE_NUM_ITERATIONS": "0"}, "num_iterations"),
        ({"LANE_B_TOTAL_BATCH_SIZE": "100"}, "multiple of device_batch_size"),
        ({"LANE_B_CORPUS": "nowhere/at/all"}, "nowhere/at/all"),
        ({"LANE_B_CORPUS": "EMPTY"}, "empty.txt"),
        ({"LANE_B_VOCAB_SIZE": "50000"}, "vocabulary is larger than the text allows"),
        ({"LANE_B_PROFILE": "huge"}, "no such profile"),
        ({"LANE_B_DEFAULT_RATIO": "1e-9"}, "less than one step"),
    ],
)
def test_bad_input_is_one_clear_error_before_anything_is_trained(lane, variables: dict[str, str], said: str) -> None:
    if variables.get("LANE_B_CORPUS") == "EMPTY":
        variables = {"LANE_B_CORPUS": empty_file(lane)}
    done = laneb(lane, "run", **variables)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not list(lane.folder.glob("data/laneb/*/runs/*/train.log"))


def test_an_unwritable_work_directory_is_bad_input(lane) -> None:
    (lane.folder / "file").touch()
    done = laneb(lane, "run", "--work-dir", str(lane.folder / "file" / "work"))
    assert done.returncode == 2
    assert "can't be written" in done.stderr


def test_a_second_instance_on_the_same_work_directory_is_refused(lane) -> None:
    from filelock import FileLock

    work = lane.settings.locations.local_dir
    work.mkdir(parents=True)
    with FileLock(work / ".laneb_run.lock"):
        done = laneb(lane, "run")
    assert done.returncode == 2
    assert "another laneb run is at work" in done.stderr


def test_a_finished_lane_is_up_to_date_and_says_its_verdict_and_how_to_open_the_ui(finished_lane) -> None:
    done = laneb(finished_lane, "run")
    assert done.returncode == 0, done.stderr
    assert "nothing to train" in done.stdout
    assert "make ui" in done.stdout
    assert any(word in done.stdout for word in ("ACCEPT", "REJECT", "INCONCLUSIVE"))
    assert str(finished_lane.settings.locations.work_dir) in done.stdout
    assert "\x1b" not in done.stdout


def test_set_is_kept_until_reset(finished_lane) -> None:
    laneb(finished_lane, "run", "--set", "statistics.corr_max_sep=8")
    assert finished_lane.settings.statistics.corr_max_sep == 8
    assert laneb(finished_lane, "run", "--set", "corr_max_sep").returncode == 2
    assert laneb(finished_lane, "run", "--set", "depth=7", LANE_B_DEPTH="1").returncode == 2
    laneb(finished_lane, "run", "--reset")
    assert finished_lane.settings.statistics.corr_max_sep == 16


def test_summary_as_json_holds_winners_tally_and_verdict(finished_once) -> None:
    done = laneb(finished_once, "summary", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["decision"] in ("ACCEPT", "REJECT", "INCONCLUSIVE")
    assert summary["summary"]["recommended_lane_b_decision"] in ("inferred", "confirmation", "fallback")


def test_experiments_that_share_a_table_are_shown_side_by_side(finished_lane) -> None:
    alone = laneb(finished_lane, "summary", "--all")
    assert [line.split()[0] for line in alone.stdout.splitlines()] == ["experiment", "micro", "micro", "micro"]
    assert alone.stdout.splitlines()[1].split()[1:5] == ["baseline", "2", "2", "of"]
    rows = [row_from_values({"run_id": "r", "seed": 41, "lane_b_decision": "fallback", "status": "ok"})]
    finished_lane.warehouse.upsert("other", rows, ["f"], skip_existing=True)
    arms = json.loads(laneb(finished_lane, "summary", "--all", "--json").stdout)["arms"]
    assert {(arm["experiment"], arm["runs"]) for arm in arms} == {("micro", 2), ("other", 1)}
    assert {arm["verdict"] for arm in arms if arm["experiment"] == "other"} == {None}


def test_a_summary_before_any_run_says_what_to_do(lane) -> None:
    done = laneb(lane, "summary")
    assert done.returncode == 2
    assert "laneb run" in done.stderr


def test_the_schema_csv_goes_out_and_in_again_byte_for_byte(finished_lane, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert laneb(finished_lane, "schema", "export", str(out)).returncode == 0
    assert out.read_bytes() == finished_lane.settings.locations.schema_path.read_bytes()
    other = {"LANE_B_DUCKDB_PATH": str(tmp_path / "other.duckdb")}
    assert laneb(finished_lane, "schema", "import", str(out), **other).returncode == 0
    again = laneb(finished_lane, "schema", "export", "-", **other)
    assert again.stdout == out.read_text()
    out.write_text("x," + ",".join(SCHEMA_COLUMNS[1:]) + "\n")
    refused = laneb(finished_lane, "schema", "import", str(out))
    assert refused.returncode == 2
    assert "unknown x" in refused.stderr


def test_logs_are_read_as_a_table_and_as_json(finished_once) -> None:
    logs = sorted(map(str, finished_once.settings.locations.log_dir.glob("laneb_calib_*.log")))
    done = laneb(finished_once, "log", *logs, "--json", "--threshold", "5.0")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert {log["status"] for log in read} == {"ok"}
    assert {log["realised_steps"] for log in read} == {6, 12, 18}
    assert "laneb_calib_6_s41.log" in laneb(finished_once, "log", *logs).stdout
    assert laneb(finished_once, "log", "missing.log").returncode == 2


def test_doctor_names_the_origin_of_settings_and_every_planned_run(lane) -> None:
    done = laneb(lane, "doctor", LANE_B_DEPTH="1")
    assert done.returncode == 0, done.stderr
    assert "environment" in done.stdout
    assert "trained_elsewhere" not in done.stdout, "a fact, not a place"
    assert "calibration" in done.stdout
    assert not (lane.folder / "data" / "laneb" / "micro" / "runs").exists()


@pytest.mark.parametrize("group", [cli, cli.commands["schema"]], ids=["laneb", "laneb schema"])
def test_the_list_of_commands_breaks_off_no_sentence(group: click.Group) -> None:
    listed = CliRunner().invoke(group, ["--help"], terminal_width=80).output.partition("Commands:")[2]
    assert len(listed.split()) > 10 and "..." not in listed


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from laneb_assets.cli import cli; "
        "heavy = {'dagster', 'torch', 'pandas', 'numpy', 'pydantic', 'rich'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_training_leaves_a_checkpoint_that_the_next_run_goes_on_from(lane, monkeypatch, stop) -> None:
    variables = {
        "LANE_B_BASELINE_SEEDS": "41",
        "LANE_B_BASELINE_MIN_SUCCESS": "1",
        "LANE_B_BASELINE_NUM_ITERATIONS": "1500",
        "LANE_B_CHECKPOINT_EVERY": "5000",
        "LANE_B_EVAL_EVERY": "500",
    }
    run_dir = lane.settings.locations.runs_dir / "d1_i1500_s41"
    process = subprocess.Popen(
        [sys.executable, "-m", "laneb_assets.cli", "run"],
        env=lane.environment() | variables, cwd=lane.folder, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    events = run_dir / "events.jsonl"
    wait_until(lambda: events.exists() and '"event": "step"' in events.read_text(), "the baseline trains", 120)
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does
    else:
        process.send_signal(stop)  # as a scheduler does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""
    assert "Stopped. What was trained is kept" in out
    assert "goes on from its last checkpoint" in out
    assert list((run_dir / "checkpoint").glob("step_*.pt"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    again = lane.materialize("baseline_runs", "41")
    assert "Resuming optimization from step" in (run_dir / "train.log").read_text(), again
    assert json.loads((run_dir / "result.json").read_text())["status"] == "ok"


def test_a_run_repeated_on_purpose_is_trained_again_and_the_earlier_attempt_is_kept(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    done = laneb(lane, "run", "--force", "baseline_runs:41")
    assert done.returncode == 0, done.stderr
    assert "trained 1 run," in done.stdout
    kept = lane.store.read_run("baseline_s41", "")
    assert kept.attempt == 2
    runs = lane.settings.locations.runs_dir
    earlier = runs / f"{kept.run_id}.{kept.fingerprint}.attempt-1"
    assert json.loads((earlier / "result.json").read_text())["attempt"] == 1
    assert json.loads((runs / kept.run_id / "result.json").read_text())["attempt"] == 2
    # A simulated run takes the seconds of its surface, so nothing that is made from it has changed.
    again = laneb(lane, "run", "--work-dir", str(lane.settings.locations.work_dir))
    assert "nothing to train" in again.stdout
    assert f"see it in Dagster: LANE_B_WORK_DIR={lane.settings.locations.work_dir} laneb ui, " in again.stdout


def test_what_can_not_be_repeated_is_refused_with_what_can(finished_simulated_lane) -> None:
    wishes = ("baseline_runs:9", "baselines", ":41")
    done = laneb(finished_simulated_lane, "run", *(word for wish in wishes for word in ("--force", wish)))
    assert done.returncode == 2
    assert "--force baseline_runs:9: baseline_runs has the partitions 41, 42" in done.stderr
    assert "--force baselines: there is no asset 'baselines', but baseline_results, " in done.stderr
    assert "--force :41: there is no asset ''" in done.stderr
    assert "Traceback" not in done.stderr


def test_imported_results_become_the_baselines_and_are_never_written(finished_lane, tmp_path: Path) -> None:
    elsewhere = tmp_path / "results"
    shutil.copytree(finished_lane.settings.locations.baseline_results_dir, elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    done = laneb(finished_lane, "import", str(elsewhere))
    assert done.returncode == 0, done.stderr
    assert finished_lane.settings.baseline.source == "directory"
    again = laneb(finished_lane, "run")
    assert again.returncode == 0, again.stderr
    assert "baseline_runs" not in again.stdout
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before
    assert laneb(finished_lane, "import", str(tmp_path / "nowhere")).returncode == 2


def test_the_environment_beats_a_kept_override(finished_lane) -> None:
    assert laneb(finished_lane, "run", "--set", "statistics.corr_max_sep=8").returncode == 0
    done = laneb(finished_lane, "run", LANE_B_CORR_MAX_SEP="16")
    assert done.returncode == 0, done.stderr


def test_an_override_that_makes_the_run_impossible_is_not_kept(finished_lane) -> None:
    assert laneb(finished_lane, "run", "--set", "data.corpus=/nowhere").returncode == 2
    assert laneb(finished_lane, "run").returncode == 0


def test_imported_runs_never_pass_for_baselines_trained_here(finished_lane, tmp_path: Path) -> None:
    trained = finished_lane.store.read_run("baseline_s41", "").backend
    elsewhere = tmp_path / "results"
    shutil.copytree(finished_lane.settings.locations.baseline_results_dir, elsewhere)
    laneb(finished_lane, "import", str(elsewhere))
    laneb(finished_lane, "run")
    laneb(finished_lane, "run", "--reset")
    assert finished_lane.store.read_run("baseline_s41", "").backend == trained
    assert finished_lane.settings.baseline.source == "runs"
