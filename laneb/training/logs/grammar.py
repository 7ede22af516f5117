"""The grammar of a training log: what a line says (docs/formats.md). Every version of nanochat, and our own lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

_NUMBER = rb"[-+]?(?:\d{1,15}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,2})?|(?i:nan|inf(?:inity)?))(?![\w.])"
_COUNT = rb"\d[\d,]{0,18}(?![\w.])"
_AMOUNT = rb"\d[\d,]{0,18}(?:\.\d{1,20})?"

_TRAIN = re.compile(
    rb"step +(\d{1,12})(?:/(\d{1,12}))? *(?:\([^|()]{0,20}\))? *\| *loss: *(" + _NUMBER + rb") *(?:\||$)"
    rb"(?:.*?\bdt: *(" + _AMOUNT + rb") *ms)?(?:.*?\btok/sec: *(" + _COUNT + rb"))?"
    rb"(?:.*?\btotal time: *(" + _AMOUNT + rb") *m\b)?"
)
# The same for the order of fields that nanochat prints, without looking back: most lines of a long log are these.
TRAIN_QUICK = re.compile(
    rb"step (\d{1,12})/(\d{1,12}) \([^|()]{0,20}\) \| loss: (\d{1,15}\.\d{1,20}) \|(?:[^|]*\|){0,3}? "
    rb"dt: (\d{1,15}\.\d{1,20})ms \| tok/sec: (" + _COUNT + rb") \|(?:[^|]*\|){0,4}? "
    rb"total time: (\d{1,15}\.\d{1,20})m\b"
)
_VALIDATION = re.compile(rb"Step +(\d{1,12}) *\| *Validation bpb: *(" + _NUMBER + rb") *(?:\||$)")
_VALUE = rb"[^|]{0,60}\| *Validation bpb:"
_ODD_VALIDATION = re.compile(rb"Step +(\d{0,12})" + _VALUE)
_EVAL = re.compile(rb"eval step=(\d{1,12}) .{0,200}?\bval_bpb=(" + _NUMBER + rb")")
_CUT_STEP = re.compile(rb"[Ss]tep +\d")
# Mid-training and fine-tuning go on in the same file where a whole speedrun is logged.
_LATER_STAGE = re.compile(
    rb"Inherited \w+=|ChatCORE: |Target examples per step: |Step +\d+(?:/\d+)? *\| *"
    rb"(?:Training loss|Validation loss|Average reward|ChatCORE metric): "
)
_SEED_FLAG = re.compile(rb"--seed(?: +|=)(\d{1,10})(?![\w.])")
_RATIO_FLAG = re.compile(rb"--target[-_]param[-_]data[-_]ratio(?: +|=)(" + _NUMBER + rb")")


class TrainLine(NamedTuple):
    """`step` was trained. Numbers are kept as printed: of a long log's millions of them, few are ever needed."""

    step: int
    horizon: bytes | None
    loss: bytes
    step_ms: bytes | None
    tok_per_sec: bytes | None
    minutes: bytes | None

    @property
    def finite(self) -> bool:
        """Whether the loss is a number: nan, inf and infinity all have an n."""
        return b"n" not in self.loss and b"N" not in self.loss

    @property
    def steps_done(self) -> int:
        """Updates made. Whether a log counts its steps from 0, as nanochat does, or from 1, the last is the horizon."""
        return self.step + 1 if self.horizon is None else max(self.step, min(self.step + 1, int(self.horizon)))

    @property
    def total_sec(self) -> float:
        """Training time so far [s]; 0 where the line has none."""
        return 0.0 if self.minutes is None else as_seconds(self.minutes)


class ValidationLine(NamedTuple):
    """Loss [bpb] after `step` updates; `decimals` as printed."""

    step: int
    bpb: float
    decimals: int


class Header(NamedTuple):
    """A fact that belongs to the segment that follows it. A `weak` one does not by itself show a new start."""

    name: str
    value: float | None
    detail: str = ""
    weak: bool = False


class Footer(NamedTuple):
    """A fact about the segment before it."""

    name: str
    value: float | None
    detail: str = ""
    decimals: int = 0


class OddValidation(NamedTuple):
    """An evaluation whose loss can't be one: unreadable, or not above 0. None where not even its step is told."""

    step: int | None
    printed: str


class LaterStage(NamedTuple):
    """A line of mid-training, fine-tuning or reinforcement learning: pretraining is over."""


class CutStep(NamedTuple):
    """The beginning of a step's line, and no more: the run went on, but what it printed is lost."""


LogLine = TrainLine | ValidationLine | OddValidation | Header | Footer | LaterStage | CutStep
_Make = Callable[["re.Match[bytes]"], Header | Footer]


def _count(name: str, weak: bool = False) -> _Make:
    return lambda match: Header(name, int(match[1].replace(b",", b"")), weak=weak)


def _number(name: str, weak: bool = False) -> _Make:
    return lambda match: Header(name, float(match[1]), weak=weak)


def _minutes_of(name: str) -> _Make:
    return lambda match: Footer(name, as_seconds(match[2]), _text(match[1]))


_RULES: tuple[tuple[bytes, bytes, _Make], ...] = (
    (b"Vocab size:", rb" *(" + _COUNT + rb")", _count("vocab_size")),
    (b"num_layers:", rb" *(" + _COUNT + rb")", _count("depth")),
    (b"Number of parameters:", rb" *(" + _COUNT + rb")(?: \(scaling: [\d,]{1,20}\))?", _count("parameters")),
    (b"Parameter counts:", rb"", lambda match: Header("parameter_counts", None)),
    (b"lm_head", rb" *: *(" + _COUNT + rb")", _count("lm_head")),
    (b"transformer_matrices", rb" *: *(" + _COUNT + rb")", _count("transformer_matrices")),
    (b"n_scaling_params", rb" *[:=] *(" + _COUNT + rb")", _count("n_scaling_params")),
    (b"Calculated number of iterations", rb".*: *(" + _COUNT + rb")", _count("horizon")),
    (b"Using user-provided number of iterations", rb": *(" + _COUNT + rb")", _count("horizon")),
    (b"Total number of training tokens", rb": *(" + _COUNT + rb")", _count("total_tokens")),
    (b"Tokens : Scaling params ratio:", rb" *(" + _NUMBER + rb")", _number("ratio")),
    # Before 2026-01-27 the ratio counted every parameter: it is not that of the scaling parameters.
    (b"Tokens : Params ratio:", rb" *(" + _NUMBER + rb")", _number("params_ratio")),
    (b"Tracking time-to-target using ", rb"(\S{1,60}) with threshold (" + _NUMBER + rb")",
     lambda match: Header("threshold", float(match[2]), _text(match[1]))),
    (b"Total batch size", rb":? *(" + _COUNT + rb").*", _count("total_batch_size")),
    (b"Resuming optimization from step", rb":? *(" + _COUNT + rb").*", _count("resumed_at")),
    (b"Time-to-target reached via ", rb"(\S{1,60}) at step (\d{1,12}): *(" + _AMOUNT + rb") *m",
     lambda match: Footer("reached", as_seconds(match[3]), _text(match[2]))),
    (b"Time-to-target (", rb"(.{1,60})\): *(" + _AMOUNT + rb") *m", _minutes_of("measured")),
    (b"Extrapolated time-to-target (", rb"(.{1,90})\): *(" + _AMOUNT + rb") *m", _minutes_of("extrapolated")),
    (b"Extrapolated time-to-target unavailable (", rb"(.{1,60})\)",
     lambda match: Footer("unavailable", None, _text(match[1]))),
    (b"Peak memory usage:", rb" *(" + _AMOUNT + rb") *MiB",
     lambda match: Footer("peak_mem_mib", as_number(match[1]))),
    (b"Total training time:", rb" *(" + _AMOUNT + rb") *m",
     lambda match: Footer("total_sec", as_seconds(match[1]))),
    (b"Minimum validation bpb:", rb" *(" + _NUMBER + rb")",
     lambda match: Footer("minimum", float(match[1]), decimals=_decimals(match[1]))),
)  # fmt: skip
_SEED = rb"(?i:(?:Overriding: *)?(?:random |run )?seed) *[:=] *(\d{1,10})"
_ASKED_RATIO = rb"(?:Overriding: *)?target_param_data_ratio *[:=] *(" + _NUMBER + rb")"
_WEAK_RULES: tuple[tuple[tuple[bytes, ...], bytes, _Make], ...] = (
    ((b"seed", b"Seed", b"SEED", b"random s", b"Random s", b"run s", b"Run s", b"Overriding"), _SEED,
     _count("seed", weak=True)),
    ((b"target_param", b"Overriding"), _ASKED_RATIO, _number("asked_ratio", weak=True)),
)  # fmt: skip

_Compiled = tuple[bytes | tuple[bytes, ...], "re.Pattern[bytes]", _Make]
_STRONG: tuple[_Compiled, ...] = tuple(
    (prefix, re.compile(re.escape(prefix) + pattern + rb"\s*$"), make) for prefix, pattern, make in _RULES
)
_WEAK: tuple[_Compiled, ...] = tuple(
    (prefixes, re.compile(pattern + rb"\s*$"), make) for prefixes, pattern, make in _WEAK_RULES
)
_STRONG_PREFIXES = tuple(prefix for prefix, _, _ in _RULES)
_LATER_PREFIXES = (b"Inherited ", b"ChatCORE: ", b"Target examples per step")

FLAGS = (b"--seed", b"--target")
"""Flags of a command line that is shown in a log. They can stand anywhere in a line; everything else begins one."""

STARTS: tuple[bytes, ...] = (
    b"step ", b"Step ", b"eval step=", *_STRONG_PREFIXES, *_LATER_PREFIXES,
    *(prefix for prefixes, _, _ in _WEAK_RULES for prefix in prefixes),
)  # fmt: skip
"""How the lines begin that say something."""


def parse_line(line: bytes, ended: bool = True, bpb_decimals: int = 4) -> LogLine | None:
    """What a line says, or None for one of no concern.

    Args:
        line: without its end, colour codes and whatever a launcher put before it.
        ended: False for a last line that may have been cut while it was written: it counts only if it is whole.
        bpb_decimals: how many decimals this log's bpb have, by which a cut one shows.
    """
    if line.startswith((b"step ", b"Step ")):
        return _step_line(line, ended, bpb_decimals)
    if line.startswith(b"eval step="):
        evaluated = _EVAL.match(line)
        return _validation(evaluated) if evaluated and ended else None
    if line.startswith(_LATER_PREFIXES):
        return LaterStage() if ended and _LATER_STAGE.match(line) else None
    if not line.startswith(_STRONG_PREFIXES):
        return _weak_header(line) if ended else None
    found = _by_rules(_STRONG, line)
    if ended or (isinstance(found, Footer) and (found.name != "minimum" or found.decimals >= bpb_decimals)):
        return found
    # The value may lack digits, but that there is a header at all shows that the run was started again.
    return Header(found.name, None) if isinstance(found, Header) else None


def _step_line(line: bytes, ended: bool, bpb_decimals: int) -> LogLine | None:
    match = _TRAIN.match(line)
    if match is not None and (ended or match[6]):
        step, horizon, loss, step_ms, tok_per_sec, minutes = match.groups()
        return TrainLine(int(step), horizon, loss, step_ms, tok_per_sec, minutes)
    match = _VALIDATION.match(line)
    if match is not None and (ended or _decimals(match[2]) >= bpb_decimals):
        return _validation(match)
    if not ended:
        return CutStep() if _CUT_STEP.match(line) else None
    if line.startswith(b"Step ") and _LATER_STAGE.match(line):
        return LaterStage()
    odd = _ODD_VALIDATION.match(line)
    return OddValidation(int(odd[1]) if odd[1] else None, _text(line[odd.end() :][:40].strip())) if odd else None


def _validation(match: re.Match[bytes]) -> ValidationLine | OddValidation:
    bpb = float(match[2])
    if bpb <= 0 and bpb != -math.inf:
        return OddValidation(int(match[1]), _text(match[2]))
    return ValidationLine(int(match[1]), bpb, _decimals(match[2]))


def _by_rules(rules: tuple[_Compiled, ...], line: bytes) -> Header | Footer | None:
    for prefix, pattern, make in rules:
        if line.startswith(prefix) and (match := pattern.match(line)):
            return make(match)
    return None


def _weak_header(line: bytes) -> Header | Footer | None:
    if b"--seed" in line and (match := _SEED_FLAG.search(line)):
        return Header("seed", int(match[1]), weak=True)
    if b"--target" in line and (match := _RATIO_FLAG.search(line)):
        return Header("asked_ratio", float(match[1]), weak=True)
    return _by_rules(_WEAK, line)


def as_number(printed: bytes) -> float:
    """The number of a printed one, its thousands separated by commas."""
    return float(printed.replace(b",", b""))


def as_seconds(minutes: bytes) -> float:
    """Seconds of printed minutes."""
    # Rounded, for 2.41 minutes to be 144.6 seconds and not a digit of binary noise more.
    return round(as_number(minutes) * 60.0, 6)


def _text(ascii_bytes: bytes) -> str:
    return ascii_bytes.decode("ascii", "replace")


def _decimals(number: bytes) -> int:
    """Digits after the point; plenty for nan and inf, which a cut would have made unreadable."""
    return 99 if number[-1:].isalpha() else len(number.partition(b".")[2])
