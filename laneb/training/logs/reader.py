"""A log's lines put together to runs: which start goes on with the run before, which is another run, which is none."""

from __future__ import annotations

from laneb.training.logs.grammar import (
    TRAIN_QUICK,
    CutStep,
    Footer,
    Header,
    LaterStage,
    LogLine,
    OddValidation,
    TrainLine,
    ValidationLine,
    parse_line,
)
from laneb.training.logs.run import RunSoFar, Tangle
from laneb.training.logs.text import LogError, Readable, plain, read_lines, without_colours

DEFAULT_DECIMALS = 4
"""Decimals of a bpb as long as no whole line showed how many this log prints."""

MOST_RUNS = 1000
"""More in one file are none: the numbers of a broken file would fill the memory."""

_Evaluation = ValidationLine | OddValidation


class LogReader:
    """Reads a log line by line. Afterwards `runs` are its pretraining runs and `run` is the last of them.

    Headers, or a step number smaller than the one before, begin a new segment. One whose headers or horizon contradict
    the run before begins another run. Else one that starts at step 0 replaces what came before, and one that starts
    later keeps what came before its first step.

    Mid-training and fine-tuning print evaluations like pretraining's, but updates without a horizon (`step 00001 (0.5%)`)
    and none of the headers that count parameters and tokens. So a start whose headers have the horizon is pretraining
    at once, and what another one prints is held until its first update, or the end, tells.
    """  # noqa: E501

    def __init__(self) -> None:
        self.runs: list[RunSoFar] = []
        self.later_stages = False
        self.tangle = Tangle()
        self._later = False
        self._pending: dict[str, float] = {}
        self._opening: set[str] = set()
        self._held: list[_Evaluation | Footer | CutStep] = []
        self._last_step = -1
        self._horizons: set[bytes] = set()
        self._none = RunSoFar(segments=0)

    @property
    def run(self) -> RunSoFar:
        """The last run; one without a segment before the first."""
        return self.runs[-1] if self.runs else self._none

    @property
    def segments(self) -> int:
        """How often the last run was started."""
        return self.run.segments

    @property
    def complete(self) -> bool:
        """Whether the last run ended, and nothing was started after it."""
        return self.run.complete and (not self._opening or self._looks_later())

    def read(self, stream: Readable) -> None:
        """Take in a whole log.

        Raises:
            LogError: a packed file is damaged, or there are more runs than `MOST_RUNS`.
        """
        for lines, ended in read_lines(stream):
            updates: list[bytes] = []
            for line in lines:
                if ended and line.startswith(b"step "):
                    updates.append(line)
                    continue
                self._take_updates(updates)
                updates = []
                self._take(parse_line(line, ended, self._decimals()))
            self._take_updates(updates)
        self.finish()

    def take(self, line: bytes, ended: bool = True) -> LogLine | None:
        """Take in the next line, without its end; gives what it says. `finish` follows the last one."""
        found = parse_line(plain(without_colours(line)), ended, self._decimals())
        self._take(found)
        return found

    def _decimals(self) -> int:
        """How many a whole bpb has: as those before it, also those of which is not known yet what run they are of."""
        held = [line.decimals for line in self._held if isinstance(line, ValidationLine)] if self._held else []
        return max(self.run.decimals, *held) if held else self.run.decimals or DEFAULT_DECIMALS

    def finish(self) -> None:
        """No line follows: settle what only a later one could have told."""
        self._settle()
        if not self._opening or self._looks_later():
            return
        if not self.runs or self.run.contradicts(self._pending, None):
            self._add_run(0)
        self.run.started_again = True

    def _take_updates(self, lines: list[bytes]) -> None:
        """Take in training lines in a row; all at once where they only go on, as most of a long log does."""
        found = [match.groups() for line in lines if (match := TRAIN_QUICK.match(line))]
        steps = [int(groups[0]) for groups in found]
        run = self.run
        goes_on = bool(self.runs) and not (
            self._later or self._held or self._opening or run.footers or run.untimed or run.horizon is None
        )
        in_order = len(set(steps)) == len(steps) and steps == sorted([self._last_step, *steps])[1:]
        same_run = {groups[1] for groups in found} == {run.horizon}
        if not (goes_on and 0 < len(lines) == len(found) and in_order and same_run):
            for line in lines:
                self._take(parse_line(line))
            return
        _, _, _, step_times, speeds, _ = zip(*found, strict=True)
        run.step_times.update(step_times)
        run.speeds.update(speeds)
        self._last_step = steps[-1]
        last = TrainLine(steps[-1], *found[-1][1:])
        run.last_line = run.last_timed = run.last_finite = last
        self.tangle.note(TrainLine(steps[0], *found[0][1:]))
        self.tangle.note(last)

    def _take(self, found: LogLine | None) -> None:
        if isinstance(found, TrainLine):
            self._train(found)
        elif isinstance(found, Header):
            self._header(found)
        elif isinstance(found, LaterStage):
            self._leave()
        elif found is not None and not self._later:
            self._evaluation_or_end(found)

    def _evaluation_or_end(self, found: _Evaluation | Footer | CutStep) -> None:
        if isinstance(found, OddValidation) and found.step is None:
            found = found._replace(step=max(0, self._last_step))
        if self._held:
            self._held.append(found)
        elif isinstance(found, ValidationLine | OddValidation):
            self._evaluation(found)
        elif isinstance(found, CutStep):
            self.run.footers.pop("minimum", None)
        elif self.runs and not self._opening:
            self.run.end(found)

    def _header(self, header: Header) -> None:
        if header.weak:
            if header.value is not None:
                self._pending[header.name] = header.value
            return
        self._settle()
        # Later stages print their batch as pretraining does, and no other header.
        if self._later and header.name == "total_batch_size":
            return
        self._later = False
        self._opening.add(header.name)
        self.tangle.cut()
        if header.value is not None and (header.name != "threshold" or header.detail == "val_bpb"):
            self._pending[header.name] = header.value

    def _train(self, line: TrainLine) -> None:
        if line.horizon is None:
            self._leave()
            return
        self._later = False
        self.tangle.note(line)
        if self._held:
            self._replay(line.horizon)
        if self._begins(line.step):
            self._begin(line.step, line.horizon)
        elif self.run.horizon not in (None, line.horizon):
            # Another horizon without a header or a step back: a line of another run, which prints in turns with this.
            self.tangle.signs += 1
            return
        self._goes_on(line.step)
        self.run.train(line)

    def _evaluation(self, line: _Evaluation) -> None:
        if self._begins(line.step):
            if "horizon" not in self._pending:
                self._held.append(line)
                return
            self._begin(line.step or 0)
        self._goes_on(line.step)
        self.run.evaluate(line)

    def _begins(self, step: int | None) -> bool:
        """Whether a line of that step is the first of a segment."""
        return not self.runs or bool(self._opening) or (step is not None and step < self._last_step)

    def _goes_on(self, step: int | None) -> None:
        if step is not None:
            self._last_step = step
        if self.run.footers:
            self.run.footers.pop("minimum", None)

    def _begin(self, first: int, horizon: bytes | None = None) -> None:
        """Begin a segment: of another run, in the place of this one, or to go on with it."""
        # Where steps go on without a step back, the last evaluation was made at the checkpoint, not after it.
        forward = first >= self._last_step
        another = not self.runs or self.run.contradicts(self._pending, horizon)
        if another and not self._opening and horizon in self._horizons:
            # Back to an earlier run's horizon without a header: two runs print in turns.
            self.tangle.signs += 1
            another = False
        if another:
            self._add_run(first)
        elif first == 0:
            old = self.run
            headers = self._pending if self._opening else old.headers | self._pending
            self.runs[-1] = RunSoFar(
                headers, segments=old.segments + 1, replaced_whole=old.complete or old.replaced_whole
            )
        else:
            self.run.headers |= self._pending
            self.run.resume_at(first, keep_first=forward)
        if horizon is not None:
            self._horizons.add(horizon)
        self._opening, self._pending = set(), {}

    def _add_run(self, first: int) -> None:
        if len(self.runs) == MOST_RUNS:
            raise LogError(f"there are more than {MOST_RUNS:,} runs in it, so that none can be trusted")
        self.runs.append(RunSoFar(self._pending, first_step=first))

    def _leave(self) -> None:
        """Lines of a later stage, up to the next header or update of pretraining."""
        self._later = self.later_stages = True
        self._held, self._opening, self._pending = [], set(), {}

    def _looks_later(self) -> bool:
        """Whether the headers since the last step are those of a later stage: the batch alone, where this file's
        pretraining printed its horizon or its parameters too."""
        others = self.run.headers.keys() - {"total_batch_size", "seed", "asked_ratio"}
        return self._opening == {"total_batch_size"} and bool(others)

    def _settle(self) -> None:
        """Decide about held lines by their headers alone."""
        if self._held and self._looks_later():
            self._leave()
        elif self._held:
            self._replay(None)

    def _replay(self, horizon: bytes | None) -> None:
        """Take in the held lines: they are of pretraining."""
        held, self._held = self._held, []
        for line in held:
            if isinstance(line, Footer):
                self.run.end(line)
            elif isinstance(line, CutStep):
                self.run.footers.pop("minimum", None)
            else:
                if self._begins(line.step):
                    self._begin(line.step or 0, horizon)
                self._goes_on(line.step)
                self.run.evaluate(line)
