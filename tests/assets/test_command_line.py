"""The console script as people meet it: exit codes, one or two lines of error, and output that scripts can read."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from in_terminal import CTRL_C, InTerminal
from server import wait_until

from laneb.storage.schema_table import SCHEMA_COLUMNS, row_from_values
from laneb_assets.cli import cli

pytestmark = pytest.mark.slow


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
    done = lane.laneb("run", **variables)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not list(lane.folder.glob("data/laneb/*/runs/*/train.log"))


def test_an_unwritable_work_directory_is_bad_input(lane) -> None:
    (lane.folder / "file").touch()
    done = lane.laneb("run", "--work-dir", str(lane.folder / "file" / "work"))
    assert done.returncode == 2
    assert "can't be written" in done.stderr


def test_a_second_instance_on_the_same_work_directory_is_refused(lane) -> None:
    from filelock import FileLock

    work = lane.settings.locations.local_dir
    work.mkdir(parents=True)
    with FileLock(work / ".laneb_run.lock"):
        done = lane.laneb("run")
    assert done.returncode == 2
    assert "another laneb run is at work" in done.stderr


SECONDS = 15
"""Of one core: from the start of Python to the end, for a lane that is up to date. It takes five."""


def test_a_finished_lane_is_up_to_date_within_seconds_and_says_its_verdict_and_how_to_open_the_ui(
    finished_lane,
) -> None:
    before = children_seconds()
    # As a person starts it: nothing is imported yet.
    done = subprocess.run(
        [sys.executable, "-m", "laneb_assets.cli", "run"],
        env=finished_lane.environment(), cwd=finished_lane.folder, capture_output=True, text=True,
    )  # fmt: skip
    assert children_seconds() - before < SECONDS, "where others are at work too, the clock tells of them"
    assert done.returncode == 0, done.stderr
    [took] = re.findall(r"nothing to train, in (\d+) s", done.stdout)
    assert int(took) < 3 * SECONDS
    assert "make ui" in done.stdout
    assert any(word in done.stdout for word in ("ACCEPT", "REJECT", "INCONCLUSIVE"))
    assert str(finished_lane.settings.locations.work_dir) in done.stdout
    assert "\x1b" not in done.stdout


def children_seconds() -> float:
    """Of a core, by the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_summary_as_json_holds_winners_tally_and_verdict(finished_once) -> None:
    done = finished_once.laneb("summary", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["decision"] in ("ACCEPT", "REJECT", "INCONCLUSIVE")
    assert summary["summary"]["recommended_lane_b_decision"] in ("inferred", "confirmation", "fallback")


def test_experiments_that_share_a_table_are_shown_side_by_side(finished_lane) -> None:
    alone = finished_lane.laneb("summary", "--all")
    assert [line.split()[0] for line in alone.stdout.splitlines()] == ["experiment", "micro", "micro", "micro"]
    assert alone.stdout.splitlines()[1].split()[1:5] == ["baseline", "2", "2", "of"]
    rows = [row_from_values({"run_id": "r", "seed": 41, "lane_b_decision": "fallback", "status": "ok"})]
    finished_lane.warehouse.upsert("other", rows, ["f"], skip_existing=True)
    arms = json.loads(finished_lane.laneb("summary", "--all", "--json").stdout)["arms"]
    assert {(arm["experiment"], arm["runs"]) for arm in arms} == {("micro", 2), ("other", 1)}
    assert {arm["verdict"] for arm in arms if arm["experiment"] == "other"} == {None}


def test_a_summary_before_any_run_says_what_to_do(lane) -> None:
    done = lane.laneb("summary")
    assert done.returncode == 2
    assert "laneb run" in done.stderr


def test_who_reads_a_held_table_is_told_for_whom_it_waits_and_ctrl_c_ends_the_wait_at_once(lane) -> None:
    path = lane.settings.locations.duckdb_path
    path.parent.mkdir(parents=True)
    holds = [sys.executable, "-c", f"import duckdb; held = duckdb.connect({str(path)!r}); print(); input()"]
    with subprocess.Popen(holds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        asks = InTerminal(
            [sys.executable, "-m", "laneb_assets.cli", "schema", "export", "-"],
            environment=lane.environment(), folder=lane.folder,
        )  # fmt: skip
        told = f"laneb: {path} is held by "
        try:
            wait_until(lambda: any(line.startswith(told) for line in asks.lines()), "it is said", 30)
            asks.type(CTRL_C)
        finally:
            status = asks.wait(10)
            holder.kill()
    [said, *end] = asks.lines()
    assert said.endswith(f"(PID {holder.pid}): waiting for it, up to 60 s")
    assert (status, end) == (130, ["^C", "laneb: stopped."])


def test_the_schema_csv_goes_out_and_in_again_byte_for_byte(finished_lane, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert finished_lane.laneb("schema", "export", str(out)).returncode == 0
    assert out.read_bytes() == finished_lane.settings.locations.schema_path.read_bytes()
    other = {"LANE_B_DUCKDB_PATH": str(tmp_path / "other.duckdb")}
    assert finished_lane.laneb("schema", "import", str(out), **other).returncode == 0
    again = finished_lane.laneb("schema", "export", "-", **other)
    assert again.stdout == out.read_text()
    out.write_text("x," + ",".join(SCHEMA_COLUMNS[1:]) + "\n")
    refused = finished_lane.laneb("schema", "import", str(out))
    assert refused.returncode == 2
    assert "unknown x" in refused.stderr


def test_logs_are_read_as_a_table_and_as_json(finished_once) -> None:
    logs = sorted(map(str, finished_once.settings.locations.log_dir.glob("laneb_calib_*.log")))
    done = finished_once.laneb("log", *logs, "--json", "--threshold", "5.0")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert {log["status"] for log in read} == {"ok"}
    assert {log["realised_steps"] for log in read} == {6, 12, 18}
    assert "laneb_calib_6_s41.log" in finished_once.laneb("log", *logs).stdout
    assert finished_once.laneb("log", "missing.log").returncode == 2


def test_doctor_names_the_origin_of_settings_and_every_planned_run(lane) -> None:
    done = lane.laneb("doctor", LANE_B_DEPTH="1")
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
