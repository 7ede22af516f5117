"""What a thousand runs cost the machine that coordinates them: many experiments of simulated runs on one Dagster
instance and in one DuckDB file, each lane from its beginning to its verdict.

Prints, as experiments are added, the coordinator's own CPU time and the wall time of a run (its training process
excluded and included), memory, and what grows on disk; then the slope, and what it comes to at 10,000 and 100,000 runs.
Then, as runs of other experiments fill the instance, what one more step costs, and a `laneb run` that finds nothing to
do: either grows only if something is looked for among all runs there are.

    python benchmarks/scale.py [--experiments 4] [--runs 12] [--history 2000] [--parallel 1]
    python benchmarks/scale.py --experiments 20 --runs 50       # a thousand: half an hour on two cores
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from laneb.places import checkout_root

if TYPE_CHECKING:
    import dagster as dg

PROFILE = """
experiment = "{name}"
[data]
vocab_size = 300
[model]
depth = 1
aspect_ratio = 32
head_dim = 32
max_seq_len = 32
[training]
backend = "simulated"
device_batch_size = 4
total_batch_size = 128
eval_every = 40
[baseline]
seeds = {baselines}
num_iterations = 400
default_ratio = 2.5
[calibration]
iterations = [200, 300]
seeds = {calibration}
[statistics]
max_tokens = 20_000
corr_max_sep = 16
ent_max_ctx = 8
ent_num_points = 6
ent_min_usable_points = 3
fit_optuna_trials = 20
[candidates]
run_seeds = {candidates}
[places]
base_dir = "{base}"
"""


@dataclass(frozen=True)
class Count:
    """The state after an experiment: runs so far, seconds and bytes in all."""

    runs: int
    wall: float
    cpu: float
    memory: int
    dagster: int
    duckdb: int
    files: int


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def seeds(count: int) -> list[int]:
    """So many seeds."""
    return list(range(41, 41 + max(count, 3)))


def profile(name: str, runs: int, folder: Path) -> Path:
    """A lane of about so many runs: two fifths baselines, a fifth calibration, two fifths candidates."""
    text = PROFILE.format(
        name=name,
        base=(folder / "data").as_posix(),
        baselines=seeds(runs * 2 // 5),
        calibration=seeds(runs // 10),
        candidates=seeds(runs // 5),
    )
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def play(experiments: int, runs: int, folder: Path) -> list[Count]:
    """Run the lanes, one after another."""
    import dagster as dg
    import psutil

    from laneb.settings import load_settings
    from laneb_assets.lane_run.walk import run_lane

    home = folder / "home"
    home.mkdir()
    shutil.copy(checkout_root() / "dagster.yaml", home)
    counts: list[Count] = []
    started, cpu, trained = time.monotonic(), time.process_time(), 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for number in range(experiments):
            settings = load_settings(str(profile(f"lane{number:03d}", runs, folder)))
            outcomes = run_lane(settings, instance, before=lambda step: None, after=lambda outcome: None)
            failed = [f"{outcome.step.label}: {outcome.error}" for outcome in outcomes if outcome.state == "failed"]
            if failed:
                raise SystemExit(f"error: {failed[0]}")
            trained += sum(1 for _ in settings.locations.run_results_dir.glob("*.json"))
            counts.append(
                Count(
                    trained,
                    time.monotonic() - started,
                    time.process_time() - cpu,
                    psutil.Process().memory_info().rss,
                    size(home),
                    size(settings.locations.duckdb_path),
                    size(settings.locations.base_dir),
                )
            )
            show(counts)
    return counts


def fill(instance: dg.DagsterInstance, count: int) -> None:
    """Put finished runs of another experiment into an instance, each with a materialization."""
    import dagster as dg

    from laneb_assets.names import EXPERIMENT_TAG, key_of

    for number in range(count):
        key = key_of(f"other{number % 20:03d}", "baseline_runs")
        tags = {EXPERIMENT_TAG: key.path[0], "dagster/partition": str(number)}
        run = dg.DagsterRun(job_name="__ASSET_JOB", status=dg.DagsterRunStatus.SUCCESS, tags=tags)
        instance.run_storage.add_run(run)
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=str(number)))


def grow(history: int, folder: Path) -> None:
    """What a step, and a walk over a finished lane, cost as the instance fills with other experiments' runs."""
    import dagster as dg

    from laneb.settings import load_settings
    from laneb_assets.definitions import definitions_of
    from laneb_assets.lane import Lane
    from laneb_assets.lane_run.execution import materialize_step
    from laneb_assets.lane_run.steps import Step
    from laneb_assets.lane_run.walk import run_lane

    settings = load_settings(str(folder / "lane000.toml"))
    definitions = definitions_of(settings)
    lane = Lane(settings, definitions.resolve_asset_graph())
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        for number in range(3):
            if number:
                fill(instance, history // 2)
            runs = instance.get_runs_count()
            started = time.process_time()
            outcomes = run_lane(settings, instance, before=lambda step: None, after=lambda outcome: None)
            walked = time.process_time() - started
            for _ in range(3):
                materialize_step(lane, definitions, instance, Step("calibration_points"), lane_run="benchmark")
            made = (time.process_time() - started - walked) / 3
            print(
                f"{runs:7,} runs of Dagster's | nothing to do in {len(outcomes)} steps: {walked:5.2f} s of CPU | "
                f"a step: {1000 * made:4.0f} ms",
                flush=True,
            )


def show(counts: list[Count]) -> None:
    """The latest experiment's row: what each of its runs cost."""
    now, before = counts[-1], counts[-2] if len(counts) > 1 else Count(0, 0, 0, 0, 0, 0, 0)
    runs = now.runs - before.runs
    print(
        f"{now.runs:7,} runs | CPU {1000 * (now.cpu - before.cpu) / runs:6.0f} ms a run | "
        f"wall {1000 * (now.wall - before.wall) / runs:6.0f} ms a run | memory {now.memory / 2**20:5.0f} MiB | "
        f"Dagster {now.dagster / 2**20:6.1f} MiB | DuckDB {now.duckdb / 2**20:5.2f} MiB | all files "
        f"{now.files / 2**20:6.1f} MiB",
        flush=True,
    )


def extrapolate(counts: list[Count]) -> None:
    """A straight line through the cost of each experiment: what a run costs where there are many before it."""
    runs = np.array([count.runs for count in counts], float)
    print(f"\nafter {counts[-1].runs:,} runs, by a straight line through the experiments but the first:")
    units = {"cpu": ("ms of CPU", 1e3), "memory": ("MiB", 2**-20)}
    units |= {name: (f"KiB of {name}", 2**-10) for name in ("dagster", "duckdb", "files")}
    for name, (unit, scale) in units.items():
        total = np.array([getattr(count, name) for count in counts], float) * scale
        if name == "memory":
            slope, start = np.polyfit(runs[1:], total[1:], 1)
            at = [f"{start + slope * n:,.0f} MiB at {n:,}" for n in (10_000, 100_000)]
            print(f"  memory: {start:,.0f} MiB and {1000 * slope:.2f} MiB more every 1,000 runs: {', '.join(at)}")
            continue
        each = np.diff(total) / np.diff(runs)
        slope, start = np.polyfit(runs[1:], each, 1)
        at = [f"{start + slope * n:,.0f} at {n:,}" for n in (10_000, 100_000)]
        print(f"  {unit} a run: {start:,.1f}, and {1000 * slope:+.2f} every 1,000 runs: {', '.join(at)}")


def main() -> None:
    """Play the lanes and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=4, help="lanes, one after another")
    parser.add_argument("--runs", type=int, default=12, help="runs of each, about")
    parser.add_argument("--history", type=int, default=2000, help="runs of other experiments to be added")
    parser.add_argument("--parallel", type=int, default=1, help="LANE_B_PARALLEL_RUNS; CPU is then the parent's alone")
    given = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("LANE_B_")]:
        del os.environ[name]
    os.environ["LANE_B_PARALLEL_RUNS"] = str(given.parallel)
    logging.disable(logging.WARNING)
    # What the runs print is theirs; the figures go to where standard output went.
    folder = Path(tempfile.mkdtemp(prefix="laneb-scale-"))
    printed = os.dup(1)
    with (folder / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
    sys.stdout = os.fdopen(printed, "w", encoding="utf-8")
    try:
        counts = play(given.experiments, given.runs, folder)
        if len(counts) > 3:
            extrapolate(counts)
        print()
        grow(given.history, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
