"""A training log's segments put together: which lines still count after restarts and resumes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

from laneb.records.runs import ValidationPoint
from laneb.training.log_grammar import (
    TRAIN_QUICK,
    CutStep,
    Footer,
    Header,
    LogLine,
    TrainLine,
    ValidationLine,
    as_number,
    parse_line,
    read_lines,
)

UNTIMED_STEPS = 10
"""Steps at the start that `total time` leaves out."""

DEFAULT_DECIMALS = 4
"""Decimals of a bpb as long as no whole line showed how many this log prints."""


@dataclass
class RunSoFar:
    """What the segments that still count say."""

    headers: dict[str, float] = field(default_factory=dict)
    points: dict[int, ValidationPoint] = field(default_factory=dict)
    untimed: list[int] = field(default_factory=list)
    first_step: int = 0
    last_evaluated: int = 0
    last_line: TrainLine | None = None
    last_timed: TrainLine | None = None
    last_finite: TrainLine | None = None
    nan_step: int | None = None
    reached: tuple[int, float] | None = None
    decimals: int = 0
    # Keyed by the printed text: even a log of millions of steps has few distinct ones.
    step_times: Counter[bytes] = field(default_factory=Counter)
    speeds: Counter[bytes] = field(default_factory=Counter)

    @property
    def steps_done(self) -> int:
        """Updates made."""
        trained = self.last_line.steps_done if self.last_line is not None else 0
        return max(self.first_step, self.last_evaluated, trained)

    def resume_at(self, first: int, keep_first: bool) -> None:
        """Forget what was printed for step `first` and later; with `keep_first` an evaluation at `first` stays."""
        end = first + 1 if keep_first else first
        self.points = {step: point for step, point in self.points.items() if step < end}
        self.untimed = [step for step in self.untimed if step < end]
        self.first_step, self.last_evaluated = first, 0
        self.last_line = None
        if self.last_timed is not None and self.last_timed.step >= first:
            self.last_timed = None
        if self.last_finite is not None and self.last_finite.step >= first:
            self.last_finite = None
        if self.nan_step is not None and self.nan_step >= first:
            self.nan_step = None
        if self.reached is not None and self.reached[0] >= end:
            self.reached = None

    def mark_nan(self, step: int) -> None:
        """A loss at `step` is not a number."""
        self.nan_step = step if self.nan_step is None else min(step, self.nan_step)

    def time_of(self, step: int) -> float:
        """Training time [s] after `step` updates, where a line so far tells; NaN where a later one has to."""
        if step <= UNTIMED_STEPS:
            return 0.0
        if self.last_timed is not None and self.last_timed.step + 1 >= step:
            return self.last_timed.total_sec
        return math.nan

    def time_open_points(self, done: int, seconds: float, step_sec: float | None) -> None:
        """Time the evaluations since the last training line, now that `done` steps are known to have taken `seconds`.

        Between two training lines time is linear in steps; with none before, it is counted back from this one.
        """
        for step in self.untimed:
            at = seconds
            if self.last_timed is not None and done > step:
                begin, begun = max(self.last_timed.step + 1, UNTIMED_STEPS + 1), self.last_timed.total_sec
                share = max(0.0, (step - begin) / (done - begin)) if done > begin else 0.0
                at = begun + share * (seconds - begun)
            elif step_sec is not None:
                at = max(0.0, seconds - (done - step) * step_sec)
            if step in self.points:
                self.points[step] = self.points[step]._replace(seconds=at)
        self.untimed = []


class LogReader:
    """Reads a log line by line. Afterwards `run` is what counts and `complete` whether it ended.

    Headers, or a step number smaller than the one before, begin a new segment. One that starts at step 0 replaces what
    came before; one that starts later keeps what came before its first step.
    """

    def __init__(self) -> None:
        self.run = RunSoFar()
        self.footers: dict[str, Footer] = {}
        self.segments = 0
        self.started_again = False
        self._pending: dict[str, float] = {}
        self._last_step = -1

    @property
    def complete(self) -> bool:
        """Whether the last segment has its minimum, and no step or header follows."""
        return "minimum" in self.footers and self.segments > 0 and not self.started_again

    def read(self, stream: BinaryIO) -> None:
        """Take in a whole log."""
        for lines, ended in read_lines(stream):
            updates: list[bytes] = []
            for line in lines:
                if ended and line.startswith(b"step "):
                    updates.append(line)
                    continue
                self._take_updates(updates)
                updates = []
                self.take(line, ended)
            self._take_updates(updates)

    def _take_updates(self, lines: list[bytes]) -> None:
        """Take in training lines in a row; all at once where they only go on, as most of a long log does."""
        found = [match.groups() for line in lines if (match := TRAIN_QUICK.match(line))]
        steps = [int(groups[0]) for groups in found]
        goes_on = self.segments > 0 and not (self.started_again or self.footers or self.run.untimed)
        if not (goes_on and 0 < len(lines) == len(found) and steps == sorted([self._last_step, *steps])[1:]):
            for line in lines:
                self.take(line)
            return
        _, _, _, step_times, speeds, _ = zip(*found, strict=True)
        self.run.step_times.update(step_times)
        self.run.speeds.update(speeds)
        self._last_step = steps[-1]
        last = TrainLine(steps[-1], *found[-1][1:])
        self.run.last_line = self.run.last_timed = self.run.last_finite = last

    def take(self, line: bytes, ended: bool = True) -> LogLine | None:
        """Take in the next line, without its end and colour codes; gives what it says."""
        found = parse_line(line, ended, self.run.decimals or DEFAULT_DECIMALS)
        if isinstance(found, TrainLine):
            self._train(found)
        elif isinstance(found, ValidationLine):
            self._validation(found)
        elif isinstance(found, Header):
            self._header(found)
        elif isinstance(found, Footer):
            self._footer(found)
        elif isinstance(found, CutStep):
            self.footers.pop("minimum", None)
        return found

    def _header(self, header: Header) -> None:
        if not header.weak:
            self.started_again = True
        if header.value is not None and (header.name != "threshold" or header.detail == "val_bpb"):
            self._pending[header.name] = header.value

    def _footer(self, footer: Footer) -> None:
        if footer.name == "reached" and footer.value is not None:
            self.run.reached = (int(footer.detail), footer.value)
            return
        if footer.name == "total_sec" and footer.value is not None:
            self.run.time_open_points(self.run.steps_done, footer.value, None)
        self.footers[footer.name] = footer

    def _step(self, step: int) -> None:
        if self.started_again or self.segments == 0 or step < self._last_step:
            self._begin_segment(step)
        self._last_step = step
        if self.footers:
            self.footers.pop("minimum", None)

    def _begin_segment(self, first: int) -> None:
        if first == 0 or self.segments == 0:
            self.run = RunSoFar(headers=self._pending, first_step=first)
        else:
            self.run.headers |= self._pending
            # Where steps go on without a step back, the last evaluation was made at the checkpoint, not after it.
            self.run.resume_at(first, keep_first=first >= self._last_step)
        self.segments += 1
        self.started_again = False
        self._pending, self.footers = {}, {}

    def _train(self, line: TrainLine) -> None:
        self._step(line.step)
        run = self.run
        run.last_line = line
        if line.finite:
            run.last_finite = line
        else:
            run.mark_nan(line.step)
        if line.step_ms is not None:
            run.step_times[line.step_ms] += 1
        if line.tok_per_sec is not None:
            run.speeds[line.tok_per_sec] += 1
        if line.minutes is not None:
            if run.untimed:
                step_sec = None if line.step_ms is None else as_number(line.step_ms) / 1000.0
                run.time_open_points(line.step + 1, line.total_sec, step_sec)
            run.last_timed = line

    def _validation(self, line: ValidationLine) -> None:
        self._step(line.step)
        run = self.run
        run.last_evaluated = line.step
        if not math.isfinite(line.bpb):
            run.mark_nan(line.step)
            run.points.pop(line.step, None)
            return
        run.decimals = max(run.decimals, line.decimals)
        seconds = run.time_of(line.step)
        if math.isnan(seconds):
            run.untimed.append(line.step)
        run.points[line.step] = ValidationPoint(line.step, seconds, line.bpb)

    def timed_points(self) -> tuple[ValidationPoint, ...]:
        """The validation curve in order of step; what no later line timed gets the time before it."""
        points = []
        seconds = 0.0
        for step in sorted(self.run.points):
            point = self.run.points[step]
            seconds = seconds if math.isnan(point.seconds) else point.seconds
            points.append(point._replace(seconds=seconds))
        return tuple(points)

    @property
    def has_times(self) -> bool:
        """Whether any line said how long training took."""
        return self.run.last_timed is not None or "total_sec" in self.footers or any(
            point.seconds > 0 for point in self.run.points.values()
        )  # fmt: skip


def median(printed: Counter[bytes]) -> float | None:
    """Median of printed numbers, each with how often it stood there."""
    total = sum(printed.values())
    if total == 0:
        return None
    ranked = sorted((as_number(text), count) for text, count in printed.items())
    middle = []
    for rank in ((total - 1) // 2, total // 2):
        seen = 0
        for value, count in ranked:
            seen += count
            if seen > rank:
                middle.append(value)
                break
    return sum(middle) / 2
