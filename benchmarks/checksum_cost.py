"""What checksums cost a run: the seconds that its processes verify and hash for, beside all that they take.

A baseline of the profile is trained as a lane trains it, in a process of its own, which is stopped half-way and started
again. All that proves files is timed where it stands: token shards read and verified at each open, the checkpoint that
the second start goes on from, spec and result, each line of the log. The share has to stay below 1 %.

    python benchmarks/checksum_cost.py [--profile tiny] [--steps 200]
"""

from __future__ import annotations

import argparse
import functools
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

sys.path.insert(0, str(Path(__file__).parent))

from kill_resume import make_shards

from laneb.corpus import shards as shards_module
from laneb.records import base
from laneb.settings import load_settings
from laneb.training import __main__ as training
from laneb.training import run_directory
from laneb.training.run_directory import SPEC, prepare
from laneb.training.spec import lane_spec

LIMIT = 0.01


class Clock:
    """Seconds within the timed functions, of those that one calls within another once."""

    def __init__(self) -> None:
        self.seconds, self.depth, self.count = dict[str, float](), 0, 0

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, on the clock."""

        @functools.wraps(call)
        def on_the_clock(*arguments: Any, **named: Any) -> Any:
            self.depth += 1
            began = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

        return on_the_clock


CLOCK = Clock()


class Digest:
    """xxhash's, on the clock, counting bytes."""

    def __init__(self, data: Any = b"") -> None:
        self._digest = _plain()
        self.update(data)

    def update(self, data: Any) -> None:
        """Hash more."""
        CLOCK.count += len(data)
        CLOCK.timed("log lines", self._digest.update)(data)

    def hexdigest(self) -> str:
        """As xxhash's."""
        return str(self._digest.hexdigest())


_plain = xxhash.xxh3_128


def train(spec_file: str) -> None:
    """Train here, with all that proves files timed; print megabytes hashed, seconds in all and those of each kind."""
    began = time.perf_counter()
    vars(xxhash)["xxh3_128"] = Digest
    for module, name, kind in (
        (shards_module, "mismatch", "token shards"),
        (run_directory, "file_checksum", "whole log"),
        (base, "canonical_hash", "records"),
        (zipfile.ZipFile, "testzip", "checkpoints"),
    ):
        setattr(module, name, CLOCK.timed(kind, getattr(module, name)))
    status = training.main([spec_file])
    print("cost", CLOCK.count / 1e6, time.perf_counter() - began, *CLOCK.seconds.items(), sep="\t", flush=True)
    sys.exit(status)


def started(spec_file: Path, stop_at: str = "") -> tuple[float, float, dict[str, float]]:
    """Megabytes hashed, seconds, and seconds of each kind, of one start; it is stopped at a line that begins so."""
    command = [sys.executable, __file__, "--train", str(spec_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        cost = ""
        for line in process.stdout:
            if stop_at and line.startswith(stop_at):
                process.send_signal(signal.SIGTERM)
            cost = line if line.startswith("cost\t") else cost
    assert process.returncode == (143 if stop_at else 0), f"ended with status {process.returncode}"
    _, megabytes, seconds, *kinds = cost.rstrip("\n").split("\t")
    pairs = (kind.strip("()").split(", ") for kind in kinds)
    return float(megabytes), float(seconds), {name.strip("'"): float(value) for name, value in pairs}


def main() -> None:
    """Print the share; exit 1 where it is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--train", metavar="SPEC", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train)
    settings = load_settings(options.profile, overrides={})
    with tempfile.TemporaryDirectory(prefix="laneb_checksums_") as place:
        shards = make_shards(settings, Path(place))
        spec = lane_spec(shards, settings.model, settings.training, seed=41, steps=options.steps)
        run_dir = Path(place) / "runs" / spec.run_id
        prepare(run_dir, spec)
        starts = [started(run_dir / SPEC, f"step {options.steps // 2:05d}/"), started(run_dir / SPEC)]
    seconds, total = sum(start[1] for start in starts), 0.0
    for kind in sorted({kind for start in starts for kind in start[2]}):
        spent = sum(start[2].get(kind, 0.0) for start in starts)
        total += spent
        print(f"{kind:14} {spent * 1000:8.1f} ms")
    print(f"{options.profile}, {options.steps} steps in two starts: {sum(start[0] for start in starts):.1f} MB hashed, "
          f"{total * 1000:.1f} ms of {seconds:.1f} s: {total / seconds:.3%} (limit {LIMIT:.0%})")  # fmt: skip
    sys.exit(0 if total < LIMIT * seconds else 1)


if __name__ == "__main__":
    main()
