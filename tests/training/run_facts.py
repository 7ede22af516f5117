"""What tests compare of two runs, and a disk that is full."""

import os
import subprocess
import sys
from pathlib import Path

from laneb.records.runs import RunResult


def facts(result: RunResult) -> dict[str, object]:
    """What a result says that no clock has a say in."""
    said = result.model_dump(exclude=set(result.volatile))
    return said | {"val_curve": [(point.step, point.bpb) for point in result.val_curve]}


def lines(run_dir: Path, start: str) -> list[str]:
    return [line for line in (run_dir / "train.log").read_text().splitlines() if line.startswith(start)]


def losses(run_dir: Path) -> list[str]:
    """Step and running loss of every update in the log."""
    return [line.split(" | ")[0] + line.split(" | ")[1] for line in lines(run_dir, "step")]


def with_files_up_to(limit: int, run_dir: Path) -> "subprocess.CompletedProcess[str]":
    """Train where no file can grow beyond a size: what a full disk refuses, at a byte of our choice."""
    script = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        f"sys.argv[1:] = [{str(run_dir / 'spec.json')!r}]; runpy.run_module('laneb.training', run_name='__main__')"
    )
    # Python up to 3.11 takes a half-written .pyc for a whole one, and fails at the next import of the module.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)


def once(points: list[tuple[int, float]]) -> dict[int, float]:
    """Values by step, none of which stands twice."""
    assert len(dict(points)) == len(points), points
    return dict(points)


def drawn(run_dir: Path, tag: str) -> dict[int, float]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0}, purge_orphaned_data=True)
    return once([(scalar.step, scalar.value) for scalar in files.Reload().Scalars(tag)])
