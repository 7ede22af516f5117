"""Many processes on one DuckDB file, some of them killed: what was said to be written is there, once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from laneb.storage.schema_table import row_from_values
from laneb.storage.warehouse import Warehouse

EXPERIMENT = "load"


@dataclass(frozen=True)
class Load:
    """What became of it."""

    written: int
    """Rows whose writing was acknowledged."""
    killed: int
    lost: int
    """Acknowledged, and not there."""
    doubled: int
    foreign: int
    """There, though no writer can have begun them."""
    failures: tuple[str, ...]
    """What processes said that were not killed."""
    reads: int
    seconds: float


def load(folder: Path, *, writers: int, readers: int, rows: int, kills: int, seed: int = 0) -> Load:
    """Let writers put `rows` rows each into a file in a folder while readers read it, and kill some on the way."""
    path, began, draw = folder / "lane_b.duckdb", time.monotonic(), random.Random(seed)
    jobs = [("write", str(number), str(rows)) for number in range(writers)]
    jobs += [("read", str(writers + number), str(writers)) for number in range(readers)]
    started = [_start(path, job) for job in jobs]
    victims = draw.sample(range(len(jobs)), kills)
    for done, victim in enumerate(victims, start=1):
        # After a part of the work, however long that takes here: nothing is timed.
        while sum(len(_said(path, number)) for number in range(writers)) < done * rows * (writers - kills) / (
            kills + 2
        ):
            if all(process.poll() is not None for process in started[:writers]):
                break
            time.sleep(0.005)
        started[victim].kill()
    for process in started[:writers]:
        process.wait()
    (folder / "stop").touch()
    failures = []
    for number, process in enumerate(started):
        _, errors = process.communicate()
        if process.returncode and number not in victims:
            failures.append(errors.strip()[-500:])
    acknowledged = [run_id for number in range(writers) for run_id in _said(path, number)]
    there = list(Warehouse(path).all_rows(EXPERIMENT)["run_id"])
    begun = {f"w{number}_r{len(_said(path, number))}" for number in victims if number < writers}
    return Load(
        written=len(acknowledged),
        killed=len(victims),
        lost=len(set(acknowledged) - set(there)),
        doubled=len(there) - len(set(there)),
        foreign=len(set(there) - set(acknowledged) - begun),
        failures=tuple(failures),
        reads=sum(len(_said(path, writers + number)) for number in range(readers)),
        seconds=time.monotonic() - began,
    )


def _start(path: Path, job: tuple[str, ...]) -> subprocess.Popen[str]:
    kind, number, much = job
    place = path.with_name(f"{number}.said")
    command = [sys.executable, __file__, kind, str(path), str(place), number, much]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _said(path: Path, number: int) -> list[str]:
    """What a process has acknowledged, whole lines only."""
    place = path.with_name(f"{number}.said")
    lines = place.read_text(encoding="utf-8").splitlines(keepends=True) if place.exists() else []
    return [line.strip() for line in lines if line.endswith("\n")]


def write(path: Path, said: Path, number: int, rows: int) -> None:
    """Put rows into the file one by one, and say each that is in it."""
    warehouse = Warehouse(path)
    with said.open("a", buffering=1) as acknowledged:
        for count in range(rows):
            run_id = f"w{number}_r{count}"
            row = row_from_values({"run_id": run_id, "seed": count, "lane_b_decision": "inferred", "status": "ok"})
            warehouse.upsert(EXPERIMENT, [row], [run_id], skip_existing=True)
            acknowledged.write(f"{run_id}\n")


def read(path: Path, said: Path, writers: int) -> None:
    """Read the whole table again and again: what was acknowledged before is in it, each once."""
    warehouse = Warehouse(path)
    with said.open("a", buffering=1) as looked:
        while not path.with_name("stop").exists():
            before = {run_id for number in range(writers) for run_id in _said(path, number)}
            there = list(warehouse.all_rows(EXPERIMENT)["run_id"])
            if missing := before - set(there):
                raise SystemExit(f"acknowledged and not there: {sorted(missing)[:5]}")
            if len(there) != len(set(there)):
                raise SystemExit("a row is there twice")
            looked.write("looked\n")


if __name__ == "__main__":
    kind, path, said, number, much = sys.argv[1:]
    if kind == "write":
        write(Path(path), Path(said), int(number), int(much))
    else:
        read(Path(path), Path(said), int(much))
