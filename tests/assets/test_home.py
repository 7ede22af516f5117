"""DAGSTER_HOME: who makes it, whose it is, and what is said when it can't be used."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from laneb.places import checkout_root
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
