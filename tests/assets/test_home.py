"""DAGSTER_HOME: who makes it, whose it is, and what is said when it can't be used."""

import ctypes
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from laneb.places import checkout_root
from laneb_assets import cli
from laneb_assets import home as dagsters_home
from laneb_assets.home import InstanceError, dagster_home, fault_on_disk, faults_explained
from laneb_assets.instance import open_instance

OPEN = "from laneb_assets.instance import open_instance; open_instance().get_runs_count(); print('opened')"


@pytest.fixture(scope="module")
def home_once(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(checkout_root() / "dagster.yaml", home)
    opened = subprocess.run([sys.executable, "-c", OPEN], env={**os.environ, "DAGSTER_HOME": str(home)}, check=True)
    assert opened.returncode == 0
    return home


@pytest.fixture
def home(home_once: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of a DAGSTER_HOME that was opened before."""
    shutil.copytree(home_once, tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_three_first_starts_at_once_leave_a_home_that_opens(tmp_path: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home")}
    starts = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPEN],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    assert [start.communicate() for start in starts] == [("opened\n", "")] * 3
    assert fault_on_disk(tmp_path / "home") == ""
    assert (tmp_path / "home" / "dagster.yaml").read_bytes() == (checkout_root() / "dagster.yaml").read_bytes()


def test_a_locked_file_is_named(home: Path) -> None:
    runs = home / "history" / "runs.db"
    with open_instance() as instance, closing(sqlite3.connect(runs, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InstanceError, match=rf"{runs} is locked by another process"), faults_explained(home):
            instance.daemon_cursor_storage.set_cursor_values({"a": "b"})


def test_a_damaged_file_is_named_with_the_way_out(home: Path) -> None:
    runs = home / "history" / "runs.db"
    runs.write_bytes(b"no database" * 1000)
    with pytest.raises(InstanceError, match=rf"{runs} is damaged.*mv"):
        open_instance()
    assert "is damaged" in fault_on_disk(home)


@pytest.mark.parametrize("text", ["run_queue: [", "run_quewe: {}\n", "telemetry:\n  enabled: 3\n"])
def test_a_config_that_is_none_is_said_in_a_sentence(home: Path, text: str) -> None:
    (home / "dagster.yaml").write_text(text)
    with pytest.raises(InstanceError, match="no config of Dagster") as error:
        open_instance()
    assert str(home / "dagster.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_foreign_folder_is_left_as_it_is_and_said(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "history").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert dagster_home() == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["history"]
    assert "left as it is" in capsys.readouterr().err


@contextmanager
def locked(home: Path) -> Iterator[str]:
    with closing(sqlite3.connect(home / "history" / "runs.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield f"{home / 'history' / 'runs.db'} is locked by another process: wait until it is done"


@contextmanager
def damaged(home: Path) -> Iterator[str]:
    index = home / "history" / "runs" / "index.db"
    index.write_bytes(index.read_bytes()[:5000])
    yield f"{index} is damaged (no whole SQLite file). Move it aside: mv '{index}' '{index}.damaged'."


@contextmanager
def read_only(home: Path) -> Iterator[str]:
    places = [home, *home.rglob("*")]
    for place in places:
        place.chmod(0o500 if place.is_dir() else 0o400)
    with without_roots_right_to_write():
        yield "can't be written (", "Make it writable. To begin in another folder: DAGSTER_HOME=/path laneb"
    for place in places:
        place.chmod(0o700)


@contextmanager
def without_roots_right_to_write() -> Iterator[None]:
    """Files' modes count for root too, in this thread: CAP_DAC_OVERRIDE is the second bit of its rights."""
    if os.geteuid() != 0:
        yield
        return
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    library = ctypes.CDLL(None, use_errno=True)
    assert library.capget(header, rights) == 0
    had = rights[0]
    rights[0] = had & ~0b10
    assert library.capset(header, rights) == 0
    try:
        yield
    finally:
        rights[0] = had
        assert library.capset(header, rights) == 0


@contextmanager
def full(_: Path) -> Iterator[str]:
    """No file of Dagster's may grow, as on a disk without room."""

    def limit(connection: Any, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(Engine, "connect", limit)
    try:
        yield "no room left on the disk of DAGSTER_HOME"
    finally:
        event.remove(Engine, "connect", limit)


@pytest.fixture
def laneb(monkeypatch, capfd) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command line in this process: exit status, and what it said on either stream."""
    monkeypatch.setattr(dagsters_home, "PATIENCE_SECONDS", 0.1)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        return (end.value.code, *capfd.readouterr())

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("fault", [locked, damaged, read_only])
@pytest.mark.parametrize("verb", ["run", "ui", "doctor"])
def test_each_command_says_a_fault_of_the_home_in_a_sentence_or_two_with_the_way_out(
    home, simulated_lane, laneb, monkeypatch, fault, verb
) -> None:
    monkeypatch.setenv("LANE_B_PROFILE", str(simulated_lane.profile))
    with fault(home) as said:
        status, out, errors = laneb(verb)
    assert status == 2
    if verb == "doctor":
        assert errors == ""
        [errors] = [line for line in out.splitlines() if line.startswith("! ") and "histories" not in line]
    else:
        assert (out, errors.count("\n")) == ("", 1)
    assert all(words in errors for words in ([said] if isinstance(said, str) else said)), errors
    assert str(home) in errors


def test_a_disk_that_fills_up_during_a_run_and_a_damaged_file_lose_nothing(
    finished_simulated_lane, laneb, monkeypatch
) -> None:
    lane = finished_simulated_lane
    monkeypatch.setenv("LANE_B_PROFILE", str(lane.profile))
    monkeypatch.setenv("DAGSTER_HOME", str(lane.home))
    with full(lane.home) as said:
        status, _, errors = laneb("run")
    assert (status, errors.count("\n")) == (1, 1)
    assert said in errors
    runs = lane.home / "history" / "runs.db"
    runs.write_bytes(b"no database" * 1000)
    with pytest.raises(InstanceError) as fault:
        open_instance()
    way_out = str(fault.value).partition("Move it aside: ")[2].partition(". Dagster")[0]
    subprocess.run(shlex.split(way_out), check=True)
    outcomes = lane.run()
    assert {outcome.state for outcome in outcomes} == {"done", "up to date"}
    assert not any(outcome.numbers.get("runs_trained") for outcome in outcomes)


FULL = """
import resource, sqlite3, sys
from pathlib import Path
from laneb_assets.home import faults_explained
home = Path(sys.argv[1])
sqlite3.connect(home / "runs.db").close()
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    with faults_explained(home):
        if sys.argv[2] == "written":
            sqlite3.connect(home / "runs.db").executescript(
                "CREATE TABLE a (b); INSERT INTO a VALUES (zeroblob(99999))"
            )
        # What SQLite says where its write-ahead log's shared memory finds no room.
        raise sqlite3.OperationalError("disk I/O error")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("where", ["written", "shared memory"])
def test_a_full_disk_is_said_as_that_whatever_sqlite_calls_it(tmp_path: Path, where: str) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path), where]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"no room left on the disk of DAGSTER_HOME {tmp_path}: make some")
