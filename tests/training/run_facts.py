"""What tests compare of two runs, and a disk that is full."""

from pathlib import Path

from small_runs import training_process

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


def with_files_up_to(limit: int, run_dir: Path) -> tuple[int, str]:
    """Train where no file can grow beyond a size: what a full disk refuses, at a byte of our choice.

    Gives the exit status, and what was said of errors.
    """
    arguments = ["-m", "laneb.training", str(run_dir / "spec.json")]
    process = training_process(arguments, {}, largest_file=limit)
    _, errors = process.communicate()
    return process.wait(), errors


def once(points: list[tuple[int, float]]) -> dict[int, float]:
    """Values by step, none of which stands twice."""
    assert len(dict(points)) == len(points), points
    return dict(points)


def drawn(run_dir: Path, tag: str) -> dict[int, float]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0}, purge_orphaned_data=True)
    return once([(scalar.step, scalar.value) for scalar in files.Reload().Scalars(tag)])
