"""What a log says of one run: which of its lines still count after restarts and resumes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from laneb.records.runs import ValidationPoint
from laneb.training.log_lines import UNTIMED_STEPS
from laneb.training.logs.grammar import Footer, OddValidation, TrainLine, ValidationLine, as_number

IDENTITY = ("seed", "vocab_size", "depth", "parameters", "lm_head", "transformer_matrices", "n_scaling_params",
            "total_batch_size", "horizon", "total_tokens")  # fmt: skip
"""Headers that stay the same when a run goes on: where one differs, another run begins."""


@dataclass
class RunSoFar:
    """What the segments that still count say. A segment is what one start of the run printed.

    `points` are in order of step, so that going back to an earlier step takes them off the end: however often a run
    was started, each is added and taken off once.
    """

    headers: dict[str, float] = field(default_factory=dict)
    footers: dict[str, Footer] = field(default_factory=dict)
    segments: int = 1
    horizon: bytes | None = None
    points: list[ValidationPoint] = field(default_factory=list)
    untimed: list[int] = field(default_factory=list)
    first_step: int = 0
    last_evaluated: int = 0
    last_line: TrainLine | None = None
    last_timed: TrainLine | None = None
    last_finite: TrainLine | None = None
    nan_step: int | None = None
    odd: OddValidation | None = None
    reached: tuple[int, float] | None = None
    decimals: int = 0
    started_again: bool = False
    replaced_whole: bool = False
    # Keyed by the printed text: even a log of millions of steps has few distinct ones.
    step_times: Counter[bytes] = field(default_factory=Counter)
    speeds: Counter[bytes] = field(default_factory=Counter)

    @property
    def steps_done(self) -> int:
        """Updates made."""
        trained = self.last_line.steps_done if self.last_line is not None else 0
        return max(self.first_step, self.last_evaluated, trained)

    @property
    def complete(self) -> bool:
        """Whether the last segment has its minimum, and nothing was started after it."""
        return "minimum" in self.footers and not self.started_again

    def contradicts(self, headers: dict[str, float], horizon: bytes | None) -> bool:
        """Whether a start with these headers, or training lines of that horizon, is of another run."""
        if any(name in headers and self.headers.get(name, headers[name]) != headers[name] for name in IDENTITY):
            return True
        ours = self.headers.get("horizon", as_number(self.horizon) if self.horizon else None)
        theirs = headers.get("horizon", as_number(horizon) if horizon else None)
        return ours is not None and theirs is not None and ours != theirs

    def resume_at(self, first: int, keep_first: bool) -> None:
        """Forget what was printed for step `first` and later; with `keep_first` an evaluation at `first` stays."""
        end = first + 1 if keep_first else first
        while self.points and self.points[-1].step >= end:
            self._take_off()
        self.first_step, self.last_evaluated = first, 0
        self.last_line = None
        if self.last_timed is not None and self.last_timed.step >= first:
            self.last_timed = None
        if self.last_finite is not None and self.last_finite.step >= first:
            self.last_finite = None
        if self.nan_step is not None and self.nan_step >= first:
            self.nan_step = None
        if self.odd is not None and (self.odd.step is None or self.odd.step >= first):
            self.odd = None
        if self.reached is not None and self.reached[0] >= end:
            self.reached = None
        self.footers = {}
        self.segments += 1

    def _take_off(self) -> None:
        self.points.pop()
        if self.untimed and self.untimed[-1] == len(self.points):
            self.untimed.pop()

    def _mark_nan(self, step: int) -> None:
        self.nan_step = step if self.nan_step is None else min(step, self.nan_step)

    def train(self, line: TrainLine) -> None:
        """Take in an update."""
        self.last_line, self.horizon = line, line.horizon
        if line.finite:
            self.last_finite = line
        else:
            self._mark_nan(line.step)
        if line.step_ms is not None:
            self.step_times[line.step_ms] += 1
        if line.tok_per_sec is not None:
            self.speeds[line.tok_per_sec] += 1
        if line.minutes is not None:
            if self.untimed:
                step_sec = None if line.step_ms is None else as_number(line.step_ms) / 1000.0
                self.time_open_points(line.step + 1, line.total_sec, step_sec)
            self.last_timed = line

    def evaluate(self, line: ValidationLine | OddValidation) -> None:
        """Take in an evaluation."""
        if isinstance(line, OddValidation):
            self.odd = self.odd or line
            return
        self.last_evaluated = line.step
        if self.points and self.points[-1].step == line.step:
            self._take_off()
        if not math.isfinite(line.bpb):
            self._mark_nan(line.step)
            return
        self.decimals = max(self.decimals, line.decimals)
        seconds = self.time_of(line.step)
        if math.isnan(seconds):
            self.untimed.append(len(self.points))
        self.points.append(ValidationPoint(line.step, seconds, line.bpb))

    def end(self, footer: Footer) -> None:
        """Take in what a run prints at its end, or when it reaches the threshold."""
        if footer.name == "reached" and footer.value is not None:
            self.reached = (int(footer.detail), footer.value)
            return
        if footer.name == "total_sec" and footer.value is not None:
            self.time_open_points(self.steps_done, footer.value, None)
        self.footers[footer.name] = footer

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
        for index in self.untimed:
            step, at = self.points[index].step, seconds
            if self.last_timed is not None and done > step:
                begin, begun = max(self.last_timed.step + 1, UNTIMED_STEPS + 1), self.last_timed.total_sec
                share = max(0.0, (step - begin) / (done - begin)) if done > begin else 0.0
                at = begun + share * (seconds - begun)
            elif step_sec is not None:
                at = max(0.0, seconds - (done - step) * step_sec)
            self.points[index] = self.points[index]._replace(seconds=at)
        self.untimed = []

    def timed_points(self) -> tuple[ValidationPoint, ...]:
        """The validation curve; what no later line timed gets the time before it."""
        points = []
        seconds = 0.0
        for point in self.points:
            seconds = seconds if math.isnan(point.seconds) else point.seconds
            points.append(point._replace(seconds=seconds))
        return tuple(points)

    @property
    def has_times(self) -> bool:
        """Whether any line said how long training took."""
        return self.last_timed is not None or "total_sec" in self.footers or any(
            point.seconds > 0 for point in self.points
        )  # fmt: skip


class Tangle:
    """Notices when the training lines of two runs stand in turns in one file.

    A run that was started again goes on from where it went back to. Two that print in turns jump back and forth, print
    a step twice, or change their horizon from line to line, with no header between.
    """

    ENOUGH = 3

    def __init__(self) -> None:
        self.signs = 0
        self._last: TrainLine | None = None
        self._back_from: int | None = None

    def cut(self) -> None:
        """A header was printed: what follows is a new start."""
        self._last = self._back_from = None

    def note(self, line: TrainLine) -> None:
        """Take in the next training line."""
        last, self._last = self._last, line
        if last is None:
            return
        if last.step == line.step and last != line:
            self.signs += 1
        elif line.step < last.step:
            self._back_from = last.step
        else:
            self.signs += self._back_from is not None and line.step >= self._back_from
            self._back_from = None

    @property
    def found(self) -> bool:
        """Whether there are enough signs."""
        return self.signs >= self.ENOUGH


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
