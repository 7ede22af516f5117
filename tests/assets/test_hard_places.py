"""Where people run it: without a home, as another user, where nothing can be written or nobody reads what is said."""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import forked_laneb
import pytest
from forked_laneb import Done

from laneb.settings import load_settings
from laneb.storage.atomic import write_text
from laneb.storage.overrides import keep_overrides
from laneb.training.log import parse_logs
from laneb_assets.commands.schema import import_command

ROOT = Path(__file__).resolve().parent.parent.parent
LANEB = [sys.executable, "-m", "laneb_assets.cli"]
FORKED = forked_laneb.__file__
LOG = (
    "Total batch size 128 => gradient accumulation steps: 1\nStep 00000 | Validation bpb: 3.100000\n"
    "Step 00010 | Validation bpb: 1.200000\nMinimum validation bpb: 1.200000\n"
)


def all_of(
    commands: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    *,
    within: Sequence[str] = (),
    verbs: str = "",
    each: Sequence[Mapping[str, str]] = (),
    **options: Any,
) -> list[Done]:
    """Commands, one after another in one Python: how each ended. `each` has what is another in each's environment."""
    asked = [{"arguments": list(one)} for one in commands]
    if each:
        asked = [one | {"environment": {**environment, **other}} for one, other in zip(asked, each, strict=True)]
    done = subprocess.run(
        [*within, sys.executable, str(FORKED), *([verbs] if verbs else [])], env=dict(environment),
        input="\n".join(map(json.dumps, asked)), capture_output=True, text=True, timeout=240, **options,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [Done(**json.loads(line)) for line in done.stdout.splitlines()]


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
        ('"$@" profiles >&- 2>&-', ""),
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
    commands = (["doctor"], ["log", str(log), "--json"])
    done = all_of(commands, bare, verbs="doctor,log", cwd="/", umask=0o077)
    assert [(one.status, one.errors) for one in done] == [(0, ""), (0, "")]


SANDBOX = (
    "mount --bind {root} {root} && mount -o remount,ro,bind {root} && mount -t tmpfs -o ro,mode=000 tmpfs /dev/shm && "
    'exec {become} "$@"'
)
"""The checkout can only be read, there is no shared memory, and the user may write what is his alone."""

READER = "dac_read_search"
"""The one right left of root's: the checkout may lie in a folder that only root may enter."""

NOBODY, HIMSELF = (
    f"setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+{READER} --ambient-caps=+{READER} "
    f"--bounding-set=-all,+{READER}",
    "setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all",
)


def sandbox() -> list[str]:
    """What a command is to begin with. Root becomes nobody; who isn't root is another user than the checkout's already,
    or, where it is his own, one who may not change it."""
    root = os.geteuid() == 0
    namespace = ["unshare", "--mount"] if root else ["unshare", "--user", "--map-root-user", "--mount"]
    script = SANDBOX.format(root=shlex.quote(str(ROOT)), become=NOBODY if root else HIMSELF)
    return [*namespace, "bash", "-c", script, "bash"]


def no_sandbox() -> str:
    """Why this machine can't make one; empty where it can."""
    if not (sys.platform == "linux" and shutil.which("unshare") and shutil.which("setpriv")):
        return "a checkout that can only be read takes Linux, unshare and setpriv"
    tried = subprocess.run([*sandbox(), "true"], capture_output=True, text=True)
    return f"this machine gives no mount namespace: {tried.stderr.strip()}" if tried.returncode else ""


def test_another_user_runs_it_from_a_checkout_that_can_only_be_read_without_shared_memory(
    simulated_lane: Any, tmp_path: Path
) -> None:
    if why := no_sandbox():
        pytest.skip(why)
    mine, others = tmp_path / "mine", tmp_path / "others"
    for folder in (mine, others):
        folder.mkdir()
    if os.geteuid() == 0:
        for folder in (mine, simulated_lane.home):
            os.chown(folder, 65534, 65534)
    else:
        others.chmod(0o555)
    environment = simulated_lane.environment() | {"PYTHONPATH": str(ROOT), "TMPDIR": str(mine)}
    # Its own place, then, a sentence each: the checkout, and somebody else's folder.
    places = [mine / "w", ROOT / "data" / "w", others]
    doctor, *refused = all_of(
        [["doctor"], ["run"], ["run"]], environment, within=sandbox(), verbs="doctor,run", cwd="/",
        each=[{"LANE_B_WORK_DIR": str(place)} for place in places],
    )  # fmt: skip
    assert (doctor.status, doctor.errors) == (0, "")
    for place, done in zip(places[1:], refused, strict=True):
        assert (done.status, done.errors.count("\n")) == (2, 1), done.errors
        assert str(place) in done.errors


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


def test_a_work_directory_that_no_file_system_can_have_is_one_sentence(simulated_lane: Any) -> None:
    verbs = [["doctor"], ["run"], ["summary"], ["report"], ["watch", "--once"], ["run"]]
    long, a_file = str(simulated_lane.folder / ("w" * 5000)), str(simulated_lane.profile)
    each = [{"LANE_B_WORK_DIR": place} for place in [long] * 5 + [a_file]]
    *done, in_a_file = all_of(verbs, simulated_lane.environment() | {"PYTHONPATH": str(ROOT)}, each=each)
    for verb, one in zip(verbs, done, strict=False):
        assert one.status in (1, 2) and one.errors.count("\n") == 1, (verb, one.errors[-600:])
        assert "File name too long" in one.errors and len(one.errors) < 700
    assert in_a_file.status == 2 and in_a_file.errors.count("\n") == 1, in_a_file.errors[-600:]
    assert f"{a_file} can't be written" in in_a_file.errors


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
