"""What checksums cost a run: the seconds that its process hashes for, beside all that it takes.

A baseline of the profile is trained in a process of its own, as a lane trains it. Everything that hashes a file or a
log line in it is timed where it stands; the share has to stay below 1 %.

    python benchmarks/checksum_cost.py [--profile tiny] [--steps 200]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import xxhash

sys.path.insert(0, str(Path(__file__).parent))

from kill_resume import make_shards

from laneb.settings import load_settings
from laneb.training import __main__ as training
from laneb.training.run_directory import SPEC, prepare
from laneb.training.spec import lane_spec

LIMIT = 0.01


class _Timed:
    """xxhash with a clock: seconds and bytes of everything that is hashed."""

    seconds, count = 0.0, 0

    def __init__(self, data: Any = b"") -> None:
        self._digest = _plain()
        if data:
            self.update(data)

    def update(self, data: Any) -> None:
        """Hash more."""
        began = time.perf_counter()
        self._digest.update(data)
        _Timed.seconds += time.perf_counter() - began
        _Timed.count += len(data)

    def hexdigest(self) -> str:
        """As xxhash's."""
        return str(self._digest.hexdigest())


_plain = xxhash.xxh3_128


def train(spec_file: str) -> None:
    """Train here, with xxhash timed, and print seconds of hashing, megabytes hashed and seconds in all."""
    vars(xxhash)["xxh3_128"] = _Timed
    began = time.perf_counter()
    status = training.main([spec_file])
    print("cost", _Timed.seconds, _Timed.count / 1e6, time.perf_counter() - began)
    sys.exit(status)


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
        command = [sys.executable, __file__, "--train", str(run_dir / SPEC)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    hashing, megabytes, seconds = map(float, printed.splitlines()[-1].split()[1:])
    print(f"{options.profile}, {options.steps} steps: {megabytes:.1f} MB hashed in {hashing * 1000:.1f} ms of "
          f"{seconds:.1f} s: {hashing / seconds:.3%} (limit {LIMIT:.0%})")  # fmt: skip
    sys.exit(0 if hashing < LIMIT * seconds else 1)


if __name__ == "__main__":
    main()
