"""Speed and memory of reading training logs: `parse_log` against a plain parser, on the same files in one run.

The plain one reads the whole file as text and runs a regular expression for each kind of line over every line, as a
script for the purpose would. Each reading runs in a process of its own, so that peak memory is its own.

Run: python benchmarks/log_parser.py [--megabytes 100] (1000 for a log of 1 GB)
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from laneb.training.hardware import peak_resident_mib
from laneb.training.log import parse_log

HEADER = """\
lm_head                 : 25,165,824
transformer_matrices    : 84,935,808
Total batch size 16,384 => gradient accumulation steps: 4
"""


def updates(generator: random.Random) -> Iterator[str]:
    """Training lines without end, an evaluation every 100."""
    step, seconds = 0, 0.0
    while True:
        if step % 100 == 0:
            yield f"Step {step:05d} | Validation bpb: {1 + 10 / (step + 10):.6f}\n"
        took = generator.gauss(0.12, 0.004)
        seconds += took
        yield (
            f"step {step:05d}/9999999 (1.00%) | loss: {3 + generator.random():.6f} | lrm: 1.00 | "
            f"dt: {took * 1000:.2f}ms | tok/sec: {int(16384 / took):,} | bf16_mfu: 41.20 | epoch: 1 | "
            f"total time: {seconds / 60:.2f}m | eta: 9.0m\n"
        )
        step += 1


def noisy(lines: Iterator[str]) -> Iterator[str]:
    """Five lines of other libraries after each."""
    for line in lines:
        yield line
        yield (
            "W0412 12:00:00.000000 140 torch/_dynamo/convert_frame.py:906] [0/8] cache size limit reached, see above\n"
            * 5
        )


def coloured(lines: Iterator[str]) -> Iterator[str]:
    """Each line in colour and with the line ends of Windows."""
    for line in lines:
        yield f"\x1b[32m{line.rstrip()}\x1b[0m\r\n"


KINDS: dict[str, Callable[[Iterator[str]], Iterator[str]]] = {
    "training lines": lambda lines: lines, "with other libraries'": noisy, "coloured, CRLF": coloured,
}  # fmt: skip


def write(path: Path, kind: str, size: int) -> None:
    """Write a finished log of about `size` bytes."""
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for line in KINDS[kind](updates(random.Random(0))):
            written += file.write(line)
            if written >= size:
                break
        file.write("Total training time: 9.00m\nMinimum validation bpb: 1.000100\n")


def ours(path: Path) -> tuple[int, float | None]:
    """Evaluations and the median time of a step, by `parse_log`."""
    log = parse_log(path)
    assert log.status == "ok"
    return len(log.val_points), log.dt_median_ms


def plain(path: Path) -> tuple[int, float | None]:
    """The same, line by line over the whole text."""
    validation = re.compile(r"Step (\d+) \| Validation bpb: ([\d.]+)")
    update = re.compile(
        r"step (\d+)/(\d+) \(([\d.]+)%\) \| loss: ([\d.]+) \| .*dt: ([\d.]+)ms \| tok/sec: ([\d,]+) "
        r".*total time: ([\d.]+)m"
    )
    minimum = re.compile(r"Minimum validation bpb: ([\d.]+)")
    points, times, lowest = [], [], None
    text = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if match := validation.search(line):
            points.append((int(match[1]), float(match[2])))
        elif match := update.search(line):
            times.append(
                (int(match[1]), float(match[4]), float(match[5]), int(match[6].replace(",", "")), float(match[7]))
            )
        elif match := minimum.search(line):
            lowest = float(match[1])
    assert lowest is not None
    return len(points), statistics.median(time[2] for time in times)


def measure(name: str, path: Path) -> None:
    """Read once and print seconds of CPU, peak memory [MiB] and what was found."""
    started = time.process_time()
    found = {"ours": ours, "plain": plain}[name](path)
    print(time.process_time() - started, peak_resident_mib(), *found)


def main() -> None:
    """Print a row for each kind of log and each parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--measure", nargs=2, metavar=("PARSER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    print(f"{'log':<22} {'parser':<6} {'MB':>6} {'CPU s':>7} {'MB/s':>6} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder) / "train.log"
            write(path, kind, arguments.megabytes * 1_000_000)
            found = set()
            for name in ("plain", "ours"):
                command = [sys.executable, __file__, "--measure", name, str(path)]
                seconds, peak, *answer = subprocess.run(
                    command, check=True, capture_output=True, text=True
                ).stdout.split()
                found.add(tuple(answer))
                megabytes = path.stat().st_size / 1e6
                rate = megabytes / float(seconds)
                print(f"{kind:<22} {name:<6} {megabytes:6.0f} {float(seconds):7.2f} {rate:6.0f} {float(peak):9.0f}")
            assert len(found) == 1, found


if __name__ == "__main__":
    main()
