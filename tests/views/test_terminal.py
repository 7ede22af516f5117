"""What `laneb run` shows on a real terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from laneb_assets.views.lane_progress import LaneProgress
from laneb_assets.views.terminal import Terminal
lane = LaneProgress({}, 0, 1)
with Terminal(Path(sys.argv[1]), Path(sys.argv[2]), lane) as terminal, terminal.watching("baseline_runs [41]"):
    print("noise of a library", file=sys.stderr, flush=True)
    print("more of it", flush=True)
"""


def test_what_libraries_print_while_a_run_is_watched_goes_to_the_log_and_not_to_the_screen(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    log = tmp_path / "log"
    command = [sys.executable, "-c", PROGRAM, str(log), str(tmp_path)]
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    screen = os.read(ours, 65536).decode()
    os.close(ours)
    assert "baseline_runs" in screen
    assert "noise" not in screen
    assert log.read_text().splitlines() == ["noise of a library", "more of it"]
