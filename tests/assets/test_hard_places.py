"""Where people run it: without a home, as another user, where nothing can be written or nobody reads what is said."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from laneb.settings import load_settings
from laneb.storage.atomic import write_text
from laneb.storage.overrides import keep_overrides
from laneb.training.log import parse_logs
from laneb_assets.commands.schema import import_command

ROOT = Path(__file__).resolve().parent.parent.parent
LANEB = [sys.executable, "-m", "laneb_assets.cli"]
LOG = (
    "Total batch size 128 => gradient accumulation steps: 1\nStep 00000 | Validation bpb: 3.100000\n"
    "Step 00010 | Validation bpb: 1.200000\nMinimum validation bpb: 1.200000\n"
)


def laneb(lane: Any, *arguments: str, cwd: Path | str = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = lane.environment() | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run([*LANEB, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=240)


def through_shell(lane: Any, command: str) -> subprocess.CompletedProcess[str]:
    environment = lane.environment() | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", command, "bash", *LANEB], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ('"$@" knobs > /dev/full', "laneb: standard output: No space left on device.\n"),
        ('"$@" knobs | head -0', ""),
        ('"$@" knobs depth >&-', ""),
        ('"$@" doctor >&- 2>&-', ""),
    ],
    ids=["full", "nobody reads", "closed", "both closed"],
)
def test_output_that_nobody_can_read_is_one_sentence_or_none(simulated_lane: Any, command: str, said: str) -> None:
    assert through_shell(simulated_lane, command).stderr == said


def test_no_home_no_language_an_optimized_python_and_a_strict_umask_change_nothing(
    simulated_lane: Any, tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text(LOG, encoding="utf-8")
    bare = {"PATH": os.environ["PATH"], "LANG": "C", "LC_ALL": "C", "PYTHONOPTIMIZE": "1", "PYTHONPATH": str(ROOT)}
    bare |= {"LANE_B_PROFILE": str(simulated_lane.profile), "DAGSTER_HOME": str(simulated_lane.home)}
    for arguments in (["doctor"], ["log", str(log), "--json"]):
        done = subprocess.run(
            [*LANEB, *arguments], env=bare, cwd="/", capture_output=True, text=True, umask=0o077, timeout=240
        )
        assert (done.returncode, done.stderr) == (0, "")


SANDBOX = (
    "mount --bind {root} {root} && mount -o remount,ro,bind {root} && {{ umount /dev/shm 2>/dev/null || true; }} && "
    "exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search "
    '--ambient-caps=+dac_read_search --bounding-set=-all,+dac_read_search "$@"'
)
"""The checkout can only be read, shared memory is none, and the user is nobody, who may write what is his alone."""


def in_sandbox(*command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = SANDBOX.format(root=ROOT)
    return subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "bash", *command],
        env=environment, cwd="/", capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_another_user_runs_it_from_a_checkout_that_can_only_be_read_without_shared_memory(
    simulated_lane: Any, tmp_path: Path
) -> None:
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("takes root, unshare and setpriv")
    mine = tmp_path / "mine"
    mine.mkdir()
    for folder in (mine, simulated_lane.home):
        os.chown(folder, 65534, 65534)
    environment = simulated_lane.environment() | {"PYTHONPATH": str(ROOT), "LANE_B_WORK_DIR": str(mine / "w")}
    if in_sandbox("true", environment=environment).returncode:
        pytest.skip("no namespaces here")
    done = in_sandbox(*LANEB, "doctor", environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    # Its own data's place, the checkout and somebody else's folder: a sentence each.
    for place in (ROOT / "data" / "w", simulated_lane.folder / "corpus"):
        environment["LANE_B_WORK_DIR"] = str(place)
        done = in_sandbox(*LANEB, "run", environment=environment)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert str(place) in done.stderr


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_neither_read_as_one_nor_replaced_by_one(
    simulated_lane: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred characters
    place = Path(kind)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(kind)
    else:
        place.symlink_to("/dev/zero")
    before = place.stat()
    for use in (
        lambda: parse_logs(str(place)),
        lambda: import_command(str(place), str(simulated_lane.profile), None),
        lambda: write_text(place, "text"),
    ):
        with pytest.raises(ValueError, match="a device, socket or pipe, not a file") as refusal:
            use()
        assert "\n" not in str(refusal.value) and kind in str(refusal.value)
    assert (place.stat().st_mode, place.stat().st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("verb", ["doctor", "run", "summary", "report", "watch"])
def test_a_work_directory_of_5000_characters_is_one_sentence(simulated_lane: Any, verb: str) -> None:
    done = laneb(simulated_lane, verb, *(["--once"] if verb == "watch" else []), LANE_B_WORK_DIR="/tmp/" + "w" * 5000)
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1, done.stderr[-600:]
    assert "File name too long" in done.stderr and len(done.stderr) < 700


def test_a_work_directory_that_is_a_file_is_one_sentence(simulated_lane: Any) -> None:
    done = laneb(simulated_lane, "run", LANE_B_WORK_DIR=str(simulated_lane.profile))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr[-600:]


def test_broken_overrides_name_the_reset_that_drops_them(simulated_lane: Any) -> None:
    path = simulated_lane.settings.locations.overrides_json
    path.parent.mkdir(parents=True)
    for text in ('{"a": ', "[1]", '{"no_such.knob": 1}', "[" * 100_000, "\0\0"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="laneb run --reset") as refusal:
            load_settings(str(simulated_lane.profile))
        assert str(path) in str(refusal.value) or "no_such.knob" in str(refusal.value)
        keep_overrides(load_settings(str(simulated_lane.profile), overrides={}).locations, {})
        assert load_settings(str(simulated_lane.profile)).overrides == {}


def test_no_assert_does_anything_that_an_optimized_python_would_leave_out() -> None:
    """They state what is known: no assignment, no call but one that only looks."""
    looks = {"isinstance", "is_folder_path"}
    for path in [*ROOT.glob("laneb/**/*.py"), *ROOT.glob("laneb_assets/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                inside = list(ast.walk(node.test))
                called = {ast.unparse(call.func) for call in inside if isinstance(call, ast.Call)}
                assert called <= looks and not any(isinstance(part, ast.NamedExpr) for part in inside), path
