"""What tests compare of two runs."""

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
