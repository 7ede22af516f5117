"""Muon's orthogonalisation, shared among the processes of a run, against each process doing all of it.

Two processes of one thread each, on a model's matrices at depth 6 (width 384); the two ways take turns, and the median
of each stands in the table. On several GPUs the messages cost more and the products less: measure there before you
quote it.

    python benchmarks/shared_updates.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEPTH, WIDTH, TURNS, PROCESSES = 6, 384, 5, 2


def measure(spec_file: str) -> None:
    """One of the processes; the leading one prints."""
    import torch

    from laneb.model.recipes import recipe_named
    from laneb.training.devices import Device
    from laneb.training.run_directory import read_spec

    spec = read_spec(Path(spec_file))
    device = Device(spec)
    alone = recipe_named(spec.recipe_name).orthogonalise
    shared = device.shared(alone)
    shapes = [(4 * DEPTH, WIDTH, WIDTH), (DEPTH, 4 * WIDTH, WIDTH), (DEPTH, WIDTH, 4 * WIDTH)]
    stacks = [torch.randn(shape) for shape in shapes]
    took: dict[str, list[float]] = {"alone": [], "shared": []}
    for _ in range(TURNS):
        for way, work in (("alone", alone), ("shared", shared)):
            device.agree(0)
            started = time.perf_counter()
            for stack in stacks:
                work(stack, torch.float32)
            device.agree(0)
            took[way].append(time.perf_counter() - started)
    if device.leads:
        medians = {way: statistics.median(seconds) for way, seconds in took.items()}
        print(f"each process all: {medians['alone']:.2f} s an update; shared by {PROCESSES}: {medians['shared']:.2f} s")
        print(f"ratio {medians['alone'] / medians['shared']:.2f}")
    device.close()


def main() -> None:
    """Start the processes on a made run."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "training"))
    from small_runs import Runs, write_shards

    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder) / "runs", write_shards(Path(folder) / "shards"))
        spec_file = runs.prepared(runs.spec(recipe="nanochat-2026-07")) / "spec.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
        subprocess.run([sys.executable, *launcher, __file__, str(spec_file)], check=True)


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
