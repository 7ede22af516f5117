"""A second reading of training logs, independent of the product's, slow and plain.

A list of all events, in which it looks ahead where the reader has to wait, and a dictionary that is built anew at each
start. It shares no code with the reader but what takes a launcher's prefix off a line.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from laneb.training.logs.text import plain, without_colours

NUMBER = r"[-+]?(?:\d{1,15}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,2})?|(?i:nan|inf|infinity))(?![\w.])"
COUNTED = {
    "Vocab size:": "vocab", "num_layers:": "layers", "Number of parameters:": "parameters", "lm_head": "head",
    "transformer_matrices": "matrices", "n_scaling_params": "scaling", "Calculated number of iterations": "horizon",
    "Using user-provided number of iterations": "horizon", "Total number of training tokens": "tokens",
    "Total batch size": "batch",
}  # fmt: skip
FOOTERS = ("Peak memory usage:", "Total training time:", "Time-to-target", "Extrapolated")


@dataclass
class Event:
    """A line that says something: a header, an evaluation, an update, a minimum, or a later stage's line."""

    kind: str
    name: str = ""
    step: int = -1
    value: float = math.nan
    horizon: int | None = None
    decimals: int = 0
    cut: bool = False


@dataclass
class Run:
    """A run of the simple reading."""

    headers: dict[str, float] = field(default_factory=dict)
    curve: dict[int, float] = field(default_factory=dict)
    bad: list[int] = field(default_factory=list)
    horizon: int | None = None
    decimals: int = 0
    minimum: float | None = None
    again: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended, with nothing that is no loss."""
        return not self.again and not self.bad and self.minimum is not None and 0 < self.minimum < math.inf

    def differs(self, headers: dict[str, float], horizon: int | None) -> bool:
        """Whether a start with these headers is of another run."""
        if any(headers[name] != self.headers[name] for name in headers.keys() & self.headers.keys()):
            return True
        ours, theirs = self.headers.get("horizon", self.horizon), headers.get("horizon", horizon)
        return ours is not None and theirs is not None and ours != theirs


def read_event(line: str) -> Event | None:
    """What a line says."""
    if match := re.match(
        r"step +(\d{1,12})(?:/(\d{1,12}))? *(?:\([^|()]{0,20}\))? *\| *loss: *(" + NUMBER + r") *(?:\||$)",
        line,
        re.ASCII,
    ):
        return Event("train", "timed" if re.search(r"total time: *[\d,.]+ *m\b", line) else "", int(match[1]),
                     float(match[3]), int(match[2]) if match[2] else None)  # fmt: skip
    if match := re.match(r"Step +(\d{1,12}) *\| *Validation bpb: *(" + NUMBER + r") *(?:\||$)", line, re.ASCII):
        return Event("val", "", int(match[1]), float(match[2]), decimals=digits(match[2]))
    if match := re.match(r"Step +\d+(?:/\d+)? *\| *(?:Training loss|Validation loss|Average reward): ", line, re.ASCII):
        return Event("later")
    if match := re.match(r"Step +(\d{0,12})[^|]{0,60}\| *Validation bpb:", line, re.ASCII):
        return Event("val", "odd", int(match[1] or -1), -1.0)
    if re.match(r"Inherited \w+=|ChatCORE: |Target examples per step: ", line, re.ASCII):
        return Event("later")
    if match := re.match(r"Minimum validation bpb: *(" + NUMBER + r")\s*$", line, re.ASCII):
        return Event("minimum", "", value=float(match[1]), decimals=digits(match[1]))
    return read_header(line)


def read_header(line: str) -> Event | None:
    """The headers that matter: what tells runs apart, and what shows a start at all."""
    for start, name in COUNTED.items():
        colon = r".*: *" if name == "horizon" else r" *[:=]? *"
        tail = r"(?: \(scaling: [\d,]{1,20}\))?\s*$" if name == "parameters" else r".*$" if name == "batch" else r"\s*$"
        if match := re.match(re.escape(start) + colon + r"(\d[\d,]{0,18})(?![\w.])" + tail, line, re.ASCII):
            return Event("header", name, value=int(match[1].replace(",", "")))
    if re.match(r"Parameter counts:\s*$", line, re.ASCII):
        return Event("header", "counts")
    if re.match(rf"Tokens : (?:Scaling params|Params) ratio: *{NUMBER}\s*$", line, re.ASCII):
        return Event("header", "other", value=0.0)
    if re.match(rf"Tracking time-to-target using \S{{1,60}} with threshold {NUMBER}\s*$", line, re.ASCII):
        return Event("header", "other", value=0.0)
    if re.match(r"Resuming optimization from step:? *\d[\d,]{0,18}(?![\w.])", line, re.ASCII):
        return Event("header", "other", value=0.0)
    return None


def digits(number: str) -> int:
    """Digits after the point."""
    return 99 if number[-1:].isalpha() else len(number.partition(".")[2])


def events_of(content: bytes) -> list[Event]:
    """What each line says; the last one, if it has no end, only where it says so without the digits that may lack."""
    text = content.replace(b"\r", b"\n").replace(b"\x00", b"")
    lines = text.split(b"\n")
    events = []
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        said = plain(without_colours(line)).decode("latin-1")
        event = read_event(said)
        if last and said and not said.startswith(FOOTERS):
            if event is None or (event.kind == "train" and not event.name) or event.kind == "later":
                event = Event("cut") if re.match(r"[Ss]tep +\d", said) else None
            elif event.kind == "val" and event.name == "odd":
                event = Event("cut")
            elif event is not None:
                event.cut = True
        if event is not None:
            events.append(event)
    return events


class SimpleReading:
    """The runs of a log's events, each start looked at with all that follows it."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.runs: list[Run] = []
        self.opening: set[str] = set()
        self.pending: dict[str, float] = {}
        self.horizons: set[int] = set()
        self.previous = -1
        self.later = False
        for index, event in enumerate(events):
            self.take(index, event)
        if self.opening and not self.batch_alone():
            if not self.runs or self.runs[-1].differs(self.pending, None):
                self.runs.append(Run(self.pending))
            self.runs[-1].again = True

    def take(self, index: int, event: Event) -> None:
        """Take in an event."""
        if event.kind == "later" or (event.kind == "train" and event.horizon is None):
            self.later, self.opening, self.pending = True, set(), {}
        elif event.kind == "header":
            if not (self.later and event.name == "batch"):
                self.later = False
                self.opening.add(event.name)
                if not event.cut and event.name != "counts":
                    self.pending[event.name] = event.value
        elif event.kind in ("val", "train") and (event.kind == "train" or not self.later):
            self.later = False
            self.step(index, event)
        elif self.runs and not self.later and not (event.kind == "minimum" and self.opening):
            self.end(event)

    def end(self, event: Event) -> None:
        """Take in a minimum, or the beginning of a step's line."""
        run = self.runs[-1]
        if event.kind == "cut":
            run.minimum = None
        elif not event.cut or event.decimals >= (run.decimals or 4):
            run.minimum = event.value

    def step(self, index: int, event: Event) -> None:
        """Take in an evaluation or an update of pretraining."""
        if event.step < 0:
            event.step = max(0, self.previous)
        if event.kind == "val" and event.cut and event.decimals < ((self.runs[-1].decimals if self.runs else 0) or 4):
            if self.runs:
                self.runs[-1].minimum = None
            return
        if not self.runs or self.opening or event.step < self.previous:
            horizon = event.horizon
            if event.kind == "val" and "horizon" not in self.pending:
                stays, horizon = self.look_ahead(index)
                if not stays:
                    self.later, self.opening, self.pending = True, set(), {}
                    return
            self.begin(event.step, horizon)
        elif event.kind == "train" and self.runs[-1].horizon not in (None, event.horizon):
            return
        run = self.runs[-1]
        self.previous, run.minimum = event.step, None
        if event.kind == "train":
            run.horizon = event.horizon
            run.bad += [] if math.isfinite(event.value) else [event.step]
        elif event.name == "odd" or not 0 < event.value < math.inf:
            run.bad.append(event.step)
            if event.name != "odd" and not math.isfinite(event.value):
                run.curve.pop(event.step, None)
        else:
            run.curve[event.step] = event.value
            run.decimals = max(run.decimals, event.decimals)

    def look_ahead(self, index: int) -> tuple[bool, int | None]:
        """Whether an evaluation is of pretraining, and of which horizon, by what follows it."""
        for event in self.events[index:]:
            if event.kind == "train":
                return event.horizon is not None, event.horizon
            if event.kind == "later":
                return False, None
            if event.kind == "header":
                break
        return not self.batch_alone(), None

    def batch_alone(self) -> bool:
        """Whether a start printed its batch and nothing else, where the run before printed more."""
        return self.opening == {"batch"} and bool(self.runs) and bool(self.runs[-1].headers.keys() - {"batch"})

    def begin(self, first: int, horizon: int | None) -> None:
        """Another run, one in the place of the last, or the last going on."""
        another = not self.runs or self.runs[-1].differs(self.pending, horizon)
        if another and not (not self.opening and horizon in self.horizons):
            self.runs.append(Run(self.pending))
        elif first == 0:
            self.runs[-1] = Run(self.pending if self.opening else self.runs[-1].headers | self.pending)
        else:
            run = self.runs[-1]
            end = first + 1 if first >= self.previous else first
            run.headers |= self.pending
            run.curve = {step: bpb for step, bpb in run.curve.items() if step < end}
            run.bad = [step for step in run.bad if step < first]
            run.minimum = None
        self.horizons |= {horizon} if horizon is not None else set()
        self.opening, self.pending = set(), {}


def simple_reading(content: bytes) -> list[Run]:
    """The runs of a log's content."""
    return SimpleReading(events_of(content)).runs
