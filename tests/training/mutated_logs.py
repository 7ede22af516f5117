"""Logs as people have them (restarts, resumes, later stages, several runs, prefixes, packed) with something wrong."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from simple_log_reading import simple_reading

from laneb.training.log import LogError, parse_logs

HEAD = """\
Vocab size: 32,768
Parameter counts:
lm_head                 : 25,165,824
transformer_matrices    : 84,935,808
Calculated number of iterations from target data:param ratio: {horizon}
Total number of training tokens: {tokens:,}
Tokens : Scaling params ratio: 8.00
Total batch size {batch:,} => gradient accumulation steps: 2
"""
BATCH = "Total batch size 16,384 => gradient accumulation steps: 1\n"


def made_log(chance: random.Random) -> bytes:
    """A log as people have it: a few starts, perhaps of several runs, perhaps with later stages."""
    text, horizon, done = "", chance.choice([12, 30]), 0
    for start in range(chance.randint(1, 4)):
        if start and chance.random() < 0.2:
            horizon, done = chance.choice([12, 20, 30]), 0
        first = 0 if start == 0 or chance.random() < 0.4 else chance.randint(0, done)
        batch = chance.choice([16384, 16384, 16384, 8192])
        if chance.random() < 0.8:
            text += HEAD.format(horizon=horizon, tokens=horizon * batch, batch=batch)
        text += f"Resuming optimization from step {first}\n" if first and chance.random() < 0.7 else ""
        done = horizon if chance.random() < 0.6 else chance.randint(first, horizon)
        text += updates(chance, first, done, horizon)
        if done == horizon and chance.random() < 0.9:
            text += "Peak memory usage: 812.40MiB\nTotal training time: 0.10m\nMinimum validation bpb: 1.012345\n"
        if chance.random() < 0.2:
            text += chance.choice(["Inherited max_seq_len=2048\n", "", "Autodetected device type: cuda\n"]) + BATCH
            text += "Step 00000 | Validation bpb: 0.5800\n"
            text += (
                "step 00001 (0.50%) | loss: 1.5 | lrm: 1.00 | dt: 6.00ms | tok/sec: 87 | mfu: 1.0\n"
                * chance.randint(0, 2)
            )
            text += "Minimum validation bpb: 0.3626\n"
    prefix = chance.choice(["", "", "", "0: ", "[rank0]: ", "trainer-1  | ", "2026-02-03 10:11:12 "])
    return "".join(prefix + line for line in text.splitlines(keepends=True)).encode()


def updates(chance: random.Random, first: int, last: int, horizon: int) -> str:
    """The lines of steps `first` to `last`."""
    lines = []
    for step in range(first, last + 1):
        if step % 4 == 0 or step == horizon:
            lines.append(f"Step {step:05d} | Validation bpb: {1 + 2 / (step + 1) + chance.random() / 100:.6f}\n")
        if step < last:
            lines.append(
                f"step {step:05d}/{horizon:05d} ({100 * step / horizon:.2f}%) | loss: {5 - step / 20:.6f} | "
                f"lrm: 1.00 | dt: {chance.gauss(120, 4):.2f}ms | tok/sec: 136,149 | epoch: 1 | total time: 0.01m\n"
            )
    return "".join(lines)


NUMBERS = [
    "nan", "-inf", "1e400", "9" * 400, ".5", "-1.0", "0.0", "0.000000", "٣.٥", "1,2,3", "1.2.3", "", "99999999999999",
]  # fmt: skip
LINES = [
    "Step 00004 | Validation bpb: nan", "Step 00008 | Validation bpb: 0.000000",
    "step 00003/00012 (1.00%) | loss: nan |",
    "Minimum validation bpb: 0.500000", "Total batch size 16,384 => x", "Inherited max_seq_len=2048",
    "step 00001 (0.5%) | loss: 1 |", "Resuming optimization from step 4", "Step 00004 | CORE metric: 0.1",
    "\x1b[31mStep 00012 | Validation bpb: 0.9\x1b[0m",
]  # fmt: skip


def mutated(chance: random.Random, log: bytes) -> bytes:
    """A log with one to three things wrong with it."""
    for _ in range(chance.randint(1, 3)):
        log = chance.choice(MUTATIONS)(chance, log)
    return log


def _number(chance: random.Random, log: bytes) -> bytes:
    found = list(re.finditer(rb"\d[\d.,]*", log))
    if not found:
        return log
    place = chance.choice(found)
    return log[: place.start()] + chance.choice(NUMBERS).encode() + log[place.end() :]


def _flip(chance: random.Random, log: bytes) -> bytes:
    flipped = bytearray(log)
    for _ in range(chance.randint(1, 8)):
        if flipped:
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _lines(change: Callable[[random.Random, list[bytes]], None]) -> Callable[[random.Random, bytes], bytes]:
    def mutation(chance: random.Random, log: bytes) -> bytes:
        lines = log.splitlines(keepends=True)
        change(chance, lines)
        return b"".join(lines)

    return mutation


def _at(chance: random.Random, lines: list[bytes]) -> int:
    return chance.randrange(len(lines) + 1)


def _double(chance: random.Random, lines: list[bytes]) -> None:
    begin, end = sorted((_at(chance, lines), _at(chance, lines)))
    place = _at(chance, lines)
    lines[place:place] = lines[begin:end]


def _drop(chance: random.Random, lines: list[bytes]) -> None:
    begin = _at(chance, lines)
    del lines[begin : begin + chance.randint(1, 6)]


def _glue(chance: random.Random, lines: list[bytes]) -> None:
    if lines:
        place = chance.randrange(len(lines))
        lines[place] = lines[place].rstrip(b"\n")


MUTATIONS: list[Callable[[random.Random, bytes], bytes]] = [
    lambda chance, log: log[: chance.randint(0, len(log))],
    lambda chance, log: log[chance.randint(0, len(log)) :],
    lambda chance, log: log.replace(b"\n", b"\r\n"),
    lambda chance, log: log + bytes(chance.randint(1, 99)),
    _number, _number, _flip, _lines(_double), _lines(_drop), _lines(_glue),
    _lines(lambda chance, lines: chance.shuffle(lines)),
    _lines(lambda chance, lines: lines.insert(_at(chance, lines), chance.choice(LINES).encode() + b"\n")),
]  # fmt: skip


@dataclass
class Tally:
    """What was tried, and what went wrong."""

    logs: int = 0
    none: int = 0
    refused: int = 0
    ok: int = 0
    raised: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stricter: int = 0


def abuse(logs: int, seed: int) -> Tally:
    """Read that many mutated logs; what is wrong is told by the number that makes it again."""
    tally = Tally()
    for number in range(logs):
        chance = random.Random(f"{seed} {number}")
        content = mutated(chance, made_log(chance))
        packed = number % 50 == 0
        check(tally, f"{seed} {number}", gzip.compress(content) if packed else content, content)
    return tally


def check(tally: Tally, name: str, given: bytes, content: bytes) -> None:
    """Compare what the reader says of a log with the simple reading of its content."""
    tally.logs += 1
    try:
        read = parse_logs(given)
    except LogError as error:
        tally.none += "no nanochat log" in str(error)
        tally.refused += "no nanochat log" not in str(error)
        read = []
    except Exception as error:
        tally.raised.append(f"{name}: {error!r}")
        return
    expected = simple_reading(content)
    if len(read) != len(expected):
        tally.wrong.append(f"{name}: {len(read)} runs, {len(expected)} by the simple reading")
        return
    for log, run in zip(read, expected, strict=True):
        tally.ok += log.status == "ok"
        tally.stricter += log.status != "ok" and run.ok
        curve = {point.step: point.bpb for point in log.val_points}
        if log.status == "ok" and not (run.ok and curve == run.curve):
            tally.wrong.append(f"{name}: ok with {curve}; by the simple reading {run}")
