"""Mutated training logs: nothing but the declared error, and no `ok` that a simple reading of the same file denies.

Logs as people have them are cut, flipped, shuffled, glued, doubled and filled with numbers that are none, and read by
the product and by an independent reading (tests/training/mutated_logs.py, simple_log_reading.py; 2,000 of them are a
test). Then seconds and peak memory for large files and for one long line, at half the size and the whole.

Run: python benchmarks/abuse_logs.py [--logs 100000] [--seed 0] [--megabytes 200]
"""

from __future__ import annotations

import argparse
import gzip
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from laneb.training.hardware import peak_resident_mib
from laneb.training.log import LogError, parse_logs

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "training"))

from mutated_logs import HEAD, abuse, updates


def long_line(path: Path, size: int) -> None:
    """A whole log, with one line of `size` bytes in it."""
    with path.open("wb") as file:
        file.write(HEAD.format(horizon=12, tokens=1, batch=1).encode())
        for _ in range(size >> 20):
            file.write(b"x| step 1 | loss: " * ((1 << 20) // 18))
        file.write(b"\n" + updates(random.Random(0), 0, 12, 12).encode() + b"Minimum validation bpb: 1.012345\n")


def long_log(path: Path, size: int, part: Callable[[int], str]) -> None:
    """A log of about `size` bytes of such parts."""
    with path.open("w") as file:
        written, number = file.write(HEAD.format(horizon=9999999, tokens=1, batch=1)), 0
        while written < size:
            written += file.write(part(number))
            number += 1
        file.write("Minimum validation bpb: 1.012345\n")


def _usual(number: int) -> str:
    line = f"step {number:05d}/9999999 (1.00%) | loss: 3.100000 | lrm: 1.00 | dt: {100 + number % 997 / 50:.2f}ms | "
    line += f"tok/sec: 136,149 | bf16_mfu: 0.00 | epoch: 1 | total time: {number / 500:.2f}m | eta: 9.0m\n"
    return (f"Step {number:05d} | Validation bpb: {1 + 9 / (number + 9):.6f}\n" if number % 250 == 0 else "") + line


def _restarts(number: int) -> str:
    begin = f"Resuming optimization from step {1000 + number}\n" if number >= 1000 else ""
    step = number if number < 1000 else 1000 + number
    return (
        begin
        + f"Step {step:05d} | Validation bpb: {1 + 9 / (step + 9):.6f}\nstep {step:05d}/9999999 (1%) | loss: 3.1 |\n"
    )


SIZES: dict[str, Callable[[Path, int], None]] = {
    "a usual log": lambda path, size: long_log(path, size, _usual),
    "a start at every step": lambda path, size: long_log(path, size // 8, _restarts),
    "one line of a quarter": lambda path, size: long_line(path, size // 4),
    "zeros, packed": lambda path, size: path.write_bytes(gzip.compress(bytes(10 * size), 1)) and None,
}


def measure(path: str) -> None:
    """Read once and print seconds of CPU and peak memory [MiB]."""
    before, started = peak_resident_mib(), time.process_time()
    try:
        status = parse_logs(path)[-1].status
    except LogError:
        status = "none"
    print(time.process_time() - started, peak_resident_mib() - before, status)


def sizes(megabytes: int) -> Iterator[str]:
    """A row for each kind of large file, at half the size and the whole."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in SIZES.items():
            for size in (megabytes * 500_000, megabytes * 1_000_000):
                path = Path(folder) / "train.log"
                write(path, size)
                command = [sys.executable, __file__, "--measure", str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, peak, status = done.stdout.split()
                megabyte = path.stat().st_size / 1e6
                yield f"{kind:<24} {megabyte:7.1f} MB {float(seconds):7.2f} s {float(peak):7.0f} MiB more  {status}"


def main() -> None:
    """Print what was tried and what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--measure", metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    started = time.process_time()
    tally = abuse(arguments.logs, arguments.seed)
    print(f"{tally.logs:,} mutated logs in {time.process_time() - started:.0f} s: {tally.ok:,} runs ok, "
          f"{tally.none:,} files no log, {tally.refused:,} refused")  # fmt: skip
    print(
        f"other errors: {len(tally.raised)}, wrong ok: {len(tally.wrong)}, ok by the simple one alone: {tally.stricter}"
    )
    for failure in (tally.raised + tally.wrong)[:10]:
        print("  ", failure[:600])
    for row in sizes(arguments.megabytes):
        print(row)
    sys.exit(1 if tally.raised or tally.wrong else 0)


if __name__ == "__main__":
    main()
