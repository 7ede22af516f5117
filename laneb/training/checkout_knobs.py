"""What a lane on a checkout trains with: the knobs that somebody set, and the checkout's own defaults for all others.

The checkout's flag list decides what can be told. A knob that somebody set is told, or refused by name where the
version has no such flag, unless it is known to do exactly that anyway. A knob that nobody set takes the value that the
flag list gives, and is not told. Flags that we have no knob for stand with their values beside the knobs.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from laneb.corpus.checkout import Checkout, CheckoutError, find_checkout
from laneb.knobs import BaselineKnobs, ModelKnobs, TrainingKnobs
from laneb.training.checkout_flags import Flag, FlagList, Value, read_flags

UNKNOWN_UNLESS_TOLD = object()
"""What a version does without a flag, where versions differ in it or none lacked the flag so far."""

_TOLD: dict[str, tuple[tuple[str, ...], Any]] = {
    "depth": (("depth",), UNKNOWN_UNLESS_TOLD),
    "aspect_ratio": (("aspect_ratio",), 64),
    "head_dim": (("head_dim",), 128),
    "n_kv_head": (("n_kv_head", "num_kv_heads"), -1),
    "max_seq_len": (("max_seq_len",), UNKNOWN_UNLESS_TOLD),
    "window_pattern": (("window_pattern",), "L"),
    "device_batch_size": (("device_batch_size",), UNKNOWN_UNLESS_TOLD),
    "total_batch_size": (("total_batch_size",), UNKNOWN_UNLESS_TOLD),
    "eval_every": (("eval_every",), UNKNOWN_UNLESS_TOLD),
    "eval_tokens": (("eval_tokens",), UNKNOWN_UNLESS_TOLD),
    "embedding_lr": (("embedding_lr",), UNKNOWN_UNLESS_TOLD),
    "unembedding_lr": (("unembedding_lr",), UNKNOWN_UNLESS_TOLD),
    "matrix_lr": (("matrix_lr",), UNKNOWN_UNLESS_TOLD),
    "scalar_lr": (("scalar_lr",), 0.5),
    "weight_decay": (("weight_decay",), UNKNOWN_UNLESS_TOLD),
    "warmdown_ratio": (("warmdown_ratio",), 0.2),
    "final_lr_share": (("final_lr_frac",), 0.0),
}
"""Knobs of a run, the flags that versions have for each, and what a version without one is known to do. The warmup,
which has two knobs, stands apart."""

TOLD = tuple(_TOLD)

WARMUP = ("warmup_steps", "warmup_ratio")
"""Knobs and flags of the same names. A version has one of the flags, or none and no warmup."""

OURS = frozenset({"run", "model_tag", "save_every", "resume_from_step", "core_metric_every", "sample_every", "seed",
                  "num_iterations", "target_flops", "target_param_data_ratio", "device_type"})  # fmt: skip
"""Flags that the lane itself gives: the horizon, the seed, where checkpoints go, side work that is turned off."""

IDLE = re.compile("help|core_metric_max_per_task|time_to_target_.*")
"""Flags that decide nothing about the training."""

NEEDED = frozenset({"depth", "max_seq_len", "device_batch_size", "total_batch_size", "eval_every", "eval_tokens"})
"""Knobs without which a run can't be described at all."""

KNOWN = frozenset({"adam_beta1", "adam_beta2", "grad_clip", "fp8", "fp8_recipe", "batch_multiplier", "wd_multiplier",
                   "warmdown_shape"})  # fmt: skip
"""Flags that decide the outcome, for which there is no knob."""


@dataclass(frozen=True)
class CheckoutKnobs:
    """What a checkout trains with.

    Attributes:
        model, training: the knobs, with the checkout's own defaults where nobody set any.
        told: knobs that somebody set, which the command passes.
        flags: flags without a knob that decide the outcome, by name, with their values.
        arguments: what LANE_B_CHECKOUT_FLAGS adds to the command, as it is.
        given: knobs that these arguments set.
        unknown: of the flags, those that we know nothing about.
    """

    model: ModelKnobs
    training: TrainingKnobs
    told: tuple[str, ...] = ()
    flags: Mapping[str, Value] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def own(self) -> dict[str, Any]:
        """The knobs that are the checkout's own defaults, with their values."""
        values = {**self.model.model_dump(), **self.training.model_dump()}
        warmup = (
            ()
            if {*WARMUP} & {*self.told}
            else ("warmup_ratio" if self.training.warmup_steps == -1 else "warmup_steps",)
        )
        return {name: values[name] for name in (*TOLD, *warmup) if name not in self.told}


def checkout_knobs(
    model: ModelKnobs, training: TrainingKnobs, origins: Mapping[str, str] | None = None
) -> CheckoutKnobs:
    """What the checkout that the training knobs name trains with.

    Args:
        model, training: the settings as they were resolved.
        origins: where each `section.name` came from ("default": nobody set it); None: what the two sections were made
            with counts as set.

    Raises:
        CheckoutError: no checkout, or knobs and flags that it can't be given; all of them are named.
    """
    checkout = find_checkout(training.nanochat_dir, training.nanochat_python)
    listed, knobs = read_flags(checkout), {**model.model_dump(), **training.model_dump()}
    chosen, refused = _set_by_someone(model, training, origins), list[str]()
    given, arguments = _given_flags(training.checkout_flags, listed, chosen, refused)
    values, told, untold = _values(knobs, chosen, listed.flags, given, refused)
    values |= _warmup(knobs, chosen, told, listed.flags, given, refused)
    if "recipe" not in chosen:
        # Nothing is told of it: parameters are counted as the model of that date has them.
        values["recipe"] = "nanochat-2026-07" if "warmup_steps" in listed.flags else "nanochat-2026-02"
    if "num_iterations" not in listed.flags:
        refused.append("a horizon in steps (it has no --num-iterations)")
    if refused:
        raise CheckoutError(
            f"the nanochat checkout at {checkout.directory} can't be given {'; '.join(refused)}. Set these to what it "
            "does, take another version of it, or train with LANE_B_BACKEND=builtin"
        )
    # It evaluates at one interval to the end, whatever was asked for.
    told += [name for name in ("eval_every_late",) if name in chosen]
    values["eval_every_late"] = values.get("eval_every", training.eval_every)
    flags = {name: given.get(name, flag.default) for name, flag in listed.flags.items() if _has_no_knob(name)}
    return CheckoutKnobs(
        model=_with(model, values, checkout),
        training=_with(training, values, checkout),
        told=tuple(told),
        flags={**flags, **dict.fromkeys(untold)},
        arguments=arguments,
        given=tuple(name for name in (*TOLD, *WARMUP) if (flag := flag_of(name, listed.flags)) and flag.name in given),
        unknown=(*(name for name in flags if name not in KNOWN), *untold),
    )


def flag_of(name: str, flags: Mapping[str, Flag]) -> Flag | None:
    """The flag that a version has for a knob."""
    names = (name,) if name in WARMUP else _TOLD[name][0]
    return next((flags[flag] for flag in names if flag in flags), None)


class WithBaseline(Protocol):
    """Settings, or their record: what the default ratio is read from."""

    @property
    def baseline(self) -> BaselineKnobs: ...
    @property
    def training(self) -> TrainingKnobs: ...
    @property
    def origins(self) -> Mapping[str, str]: ...


def customary_ratio(settings: WithBaseline) -> float:
    """The default ratio: as somebody set it, else a checkout's own where one trains, else the recipe's.

    Versions that count all parameters in their ratio (before 2026-01-27) take it as a whole number; theirs is none of
    ours.

    Raises:
        CheckoutError: a checkout trains and is not there.
    """
    training, baseline = settings.training, settings.baseline
    if training.backend != "nanochat" or settings.origins.get("baseline.default_ratio") not in UNSET:
        return baseline.customary_ratio
    flags = read_flags(find_checkout(training.nanochat_dir, training.nanochat_python)).flags
    flag = flags.get("target_param_data_ratio")
    if flag is None or flag.kind != "float" or not isinstance(flag.default, (int, float)) or flag.default <= 0:
        return baseline.customary_ratio
    return float(flag.default)


UNSET = ("default", "recipe", None)
"""Origins of a knob that nobody set."""


def _set_by_someone(model: ModelKnobs, training: TrainingKnobs, origins: Mapping[str, str] | None) -> frozenset[str]:
    if origins is None:
        return frozenset(model.model_fields_set | training.model_fields_set)
    return set_by_someone(origins)


def set_by_someone(origins: Mapping[str, str]) -> frozenset[str]:
    """Names of the model's and training's knobs that a profile, an override or the environment sets."""
    keys = (key for key, origin in origins.items() if origin not in UNSET)
    return frozenset(key.partition(".")[2] for key in keys if key.startswith(("model.", "training.")))


def _values(
    knobs: Mapping[str, Any], chosen: frozenset[str], flags: Mapping[str, Flag], given: Mapping[str, Value],
    refused: list[str],
) -> tuple[dict[str, Any], list[str], list[str]]:  # fmt: skip
    """What the knobs that nobody set are, which of the others are told, and of which nothing is known."""
    values: dict[str, Any] = {}
    told, untold = [], []
    for name, (_, otherwise) in _TOLD.items():
        flag = flag_of(name, flags)
        if name in chosen and flag is not None:
            told.append(name)
        elif flag is not None:
            values[name] = given.get(flag.name, flag.default)
        elif name in NEEDED or (name in chosen and not is_so_anyway(name, knobs)):
            refused.append(lacking(name, knobs[name]))
        elif otherwise is UNKNOWN_UNLESS_TOLD:
            untold.append(name)
        elif name not in chosen:
            values[name] = otherwise
    return values, told, untold


def lacking(name: str, value: object) -> str:
    """That a version can't be told a knob."""
    return (
        f"{variable_of(name)}={value} (it has no --{(name if name in WARMUP else _TOLD[name][0][0]).replace('_', '-')})"
    )


def is_so_anyway(name: str, knobs: Mapping[str, Any]) -> bool:
    """Whether a version without a flag for a knob does what the knob says."""
    if name in WARMUP:
        return knobs[name] in (0, -1)
    otherwise = _TOLD[name][1]
    if name == "n_kv_head":
        heads = -(-knobs["depth"] * knobs["aspect_ratio"] // knobs["head_dim"])
        return knobs[name] in (-1, heads)
    return otherwise is not UNKNOWN_UNLESS_TOLD and bool(knobs[name] == otherwise)


def _warmup(
    knobs: Mapping[str, Any], chosen: frozenset[str], told: list[str], flags: Mapping[str, Flag],
    given: Mapping[str, Value], refused: list[str],
) -> dict[str, Any]:  # fmt: skip
    """The warmup in its two knobs: what was chosen, in either, else the version's own."""
    name = next((name for name in WARMUP if name in chosen and knobs[name] != -1), None)
    if name is not None:
        if any(flag in flags for flag in WARMUP):
            told.append(name)
        elif knobs[name]:
            refused.append(lacking(name, knobs[name]))
        return {"warmup_steps": -1} if name == "warmup_ratio" else {"warmup_ratio": 0.0}
    own = next((flag for flag in WARMUP if flag in flags), None)
    if own is None:
        return {"warmup_steps": -1, "warmup_ratio": 0.0}
    return {"warmup_steps": -1, "warmup_ratio": 0.0, own: given.get(own, flags[own].default)}


def _given_flags(
    text: str, listed: FlagList, chosen: frozenset[str], refused: list[str]
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The flags of LANE_B_CHECKOUT_FLAGS with their values, and the same as words."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise CheckoutError(f"LANE_B_CHECKOUT_FLAGS={text}: {error}") from error
    given: dict[str, Value] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        spelled, equals, value = word.removeprefix("--").partition("=")
        flag = next((flag for flag in listed.flags.values() if word.startswith("--") and flag.spelled == spelled), None)
        if flag is None:
            refused.append(f"{word} of LANE_B_CHECKOUT_FLAGS ({_nearest(spelled, listed)})")
            continue
        if flag.kind != "switch" and not equals and rest and not listed.configurator:
            value = rest.pop(0)
        problem = _clash(flag, chosen) or _misfit(flag, bool(equals), value, listed.configurator)
        if problem:
            refused.append(f"{word} of LANE_B_CHECKOUT_FLAGS ({problem})")
        else:
            given[flag.name] = True if flag.kind == "switch" else flag.value(value)
    return given, words


def _nearest(spelled: str, listed: FlagList) -> str:
    names = {flag.name: flag.spelled for flag in listed.flags.values()}
    close = difflib.get_close_matches(spelled.replace("-", "_"), list(names), n=1, cutoff=0.6)
    return f"it has no such flag; did you mean --{names[close[0]]}?" if close else "it has no such flag"


def _clash(flag: Flag, chosen: frozenset[str]) -> str:
    """Why a flag can't be given beside what is given anyway."""
    if flag.name in OURS:
        return "the lane gives it itself"
    knobs = WARMUP if flag.name in WARMUP else [name for name, (names, _) in _TOLD.items() if flag.name in names]
    both = [variable_of(name) for name in knobs if name in chosen]
    return f"{' and '.join(both)} says it too: set one of them" if both else ""


def _misfit(flag: Flag, equals: bool, value: str, configurator: bool) -> str:
    """Why a flag can't take what is written for it."""
    if flag.kind == "switch":
        return "it takes no value" if equals else ""
    if configurator and not equals:
        return f"this version takes --{flag.spelled}=VALUE alone"
    try:
        flag.value(value)
    except ValueError:
        return f"it takes {'a number' if flag.kind == 'float' else 'an integer'}"
    if configurator and flag.kind == "float" and re.fullmatch(r"[-+]?\d+", value):
        return f"this version wants a fraction: write {value}.0"
    return "" if value else "it takes a value"


def _has_no_knob(name: str) -> bool:
    """Whether a flag decides the outcome and is none of the knobs'."""
    known = {flag for names, _ in _TOLD.values() for flag in names} | {*WARMUP, *OURS}
    return name not in known and not IDLE.fullmatch(name)


def _with(section: Any, values: Mapping[str, Any], checkout: Checkout) -> Any:
    """The section with other values for some of its knobs."""
    mine = {name: value for name, value in values.items() if name in type(section).model_fields and value is not None}
    try:
        return type(section).model_validate(section.model_dump() | mine)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise CheckoutError(
            f"the nanochat checkout at {checkout.directory} has {name.replace('_', '-')} {values[name]!r}, which no "
            f"run of a lane can have: {error.errors()[0]['msg']}. Set {variable_of(name)}"
        ) from error


def variable_of(name: str) -> str:
    """The environment variable of a knob of the model or of training."""
    for section in (ModelKnobs, TrainingKnobs):
        if name in section.model_fields:
            extra = section.model_fields[name].json_schema_extra
            return str(extra["env"]) if isinstance(extra, dict) else name
    return name
