"""What nanochat's own training script can be told, and the command that trains a run with it.

The script's flags change between versions: they are found from its `--help`. What a version can't be told is refused by
name, unless the version is known to do exactly that anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.corpus.checkout import Checkout, CheckoutError, find_checkout
from laneb.knobs import ModelKnobs, TrainingKnobs

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec

SCRIPT = Path(__file__).with_name("run_checkout.py")
MODULE = "scripts.base_train"
NEVER = 10**9
"""As "every so many steps" to a version that doesn't know -1 as never."""

_OPTION = re.compile(r"^ {1,8}(?:-\w(?: \w+)?, )?--([A-Za-z][\w-]*)")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_ASSIGNMENT = re.compile(r"^([a-z]\w*) *= *[^=#\n]+(#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class _Told:
    """A field of the spec, the flags that versions have for it, and what a version without one is known to do."""

    field: str
    flags: tuple[str, ...]
    fixed: Any = None


_TOLD = (
    _Told("depth", ("depth",)),
    _Told("aspect_ratio", ("aspect_ratio",), fixed=64),
    _Told("head_dim", ("head_dim",), fixed=128),
    _Told("max_seq_len", ("max_seq_len",)),
    _Told("window_pattern", ("window_pattern",), fixed="L"),
    _Told("steps", ("num_iterations",)),
    _Told("device_batch_size", ("device_batch_size",)),
    _Told("total_batch_size", ("total_batch_size",)),
    _Told("eval_every", ("eval_every",)),
    _Told("eval_tokens", ("eval_tokens",)),
    _Told("embedding_lr", ("embedding_lr",)),
    _Told("unembedding_lr", ("unembedding_lr",)),
    _Told("matrix_lr", ("matrix_lr",)),
    _Told("scalar_lr", ("scalar_lr",), fixed=0.5),
    _Told("weight_decay", ("weight_decay",)),
    _Told("warmup_ratio", ("warmup_ratio",), fixed=0.0),
    _Told("warmdown_ratio", ("warmdown_ratio",)),
    _Told("final_lr_share", ("final_lr_frac",), fixed=0.0),
    _Told("device", ("device_type",)),
)


@dataclass(frozen=True)
class NanochatCommand:
    """How a checkout trains a run.

    Attributes:
        arguments: the command.
        checkout: where it runs.
        notes: what the run does otherwise than one of ours, one sentence each.
    """

    arguments: tuple[str, ...]
    checkout: Checkout
    notes: tuple[str, ...]


def checkout_help(checkout: Checkout) -> str:
    """What the training script says about its flags; of a version that can't say, its settings as if it had.

    Raises:
        CheckoutError: the script can't be started.
    """
    source = (checkout.directory / "scripts" / "base_train.py").read_text(encoding="utf-8", errors="replace")
    # Early versions read `--name=value` into the globals above this line, and know no --help.
    settings, configurator, _ = source.partition("configurator.py")
    if configurator and "argparse" not in source:
        return "".join(f"  --{name} {comment or ''}\n" for name, comment in _ASSIGNMENT.findall(settings))
    return checkout.run("-m", MODULE, "--help")


def flags_of(text: str) -> dict[str, tuple[str, str]]:
    """The flags of a help text: by name (with underscores), how each is spelled and what is said about it."""
    flags: dict[str, tuple[str, str]] = {}
    current = ""
    for line in _ESCAPE.sub("", text).splitlines():
        if match := _OPTION.match(line):
            spelled = match[1]
            current = spelled.replace("-", "_")
            flags[current] = (spelled, line[match.end() :].strip())
        elif current and line.startswith(" " * 9):
            spelled, said = flags[current]
            flags[current] = (spelled, f"{said} {line.strip()}")
        else:
            current = ""
    return flags


def nanochat_command(
    spec: RunSpec,
    help_text: str,
    *,
    model_tag: str,
    base_dir: Path | None = None,
    resume_from: int = 0,
) -> NanochatCommand:
    """The command that trains a spec with its checkout.

    Args:
        spec: the run; `nanochat_dir` and `nanochat_python` say which checkout.
        help_text: of the checkout's training script.
        model_tag: name of the run's checkpoints.
        base_dir: where the checkout is to keep its data for this run; None for its own place.
        resume_from: step of the checkpoint to go on from; 0 to begin.

    Raises:
        CheckoutError: no checkout there, or it can't be given something of the spec; all such things are named.
    """
    checkout = find_checkout(spec.nanochat_dir, spec.nanochat_python)
    flags = flags_of(help_text)
    given, refused, notes = _told(spec, flags)
    if resume_from and "resume_from_step" not in flags:
        refused.append("resuming from a checkpoint (it has no --resume-from-step)")
    if refused:
        raise CheckoutError(
            f"the nanochat checkout at {checkout.directory} can't be given {'; '.join(refused)}. Set these to what it "
            "does, take another version of it, or train with LANE_B_BACKEND=builtin"
        )
    given |= _switches(spec, flags, model_tag)
    if resume_from:
        given["resume_from_step"] = resume_from
    own = ["--checkout", str(checkout.directory)]
    if "seed" in flags:
        given["seed"] = spec.seed
    else:
        own += ["--seed", str(spec.seed)]
    if base_dir is not None:
        own += ["--set", f"NANOCHAT_BASE_DIR={base_dir}"]
    if spec.device == "cpu":
        own += ["--set", f"OMP_NUM_THREADS={spec.threads}"]
    told = [f"--{flags[name][0]}={value}" for name, value in given.items()]
    return NanochatCommand((str(checkout.python), "-u", str(SCRIPT), *own, "--", *told), checkout, tuple(notes))


def _told(spec: RunSpec, flags: Mapping[str, tuple[str, str]]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Flags with their values, what can't be given, and what to know."""
    given: dict[str, Any] = {}
    refused: list[str] = []
    for told in _TOLD:
        value = getattr(spec, told.field)
        name = next((flag for flag in told.flags if flag in flags), None)
        if name is not None:
            given[name] = value
        elif told.fixed is None or value != told.fixed:
            refused.append(f"{_knob(told.field)}={value} (it has no --{told.flags[0].replace('_', '-')})")
    heads = spec.shape.n_head
    if spec.shape.kv_heads != heads:
        name = next((flag for flag in ("n_kv_head", "num_kv_heads") if flag in flags), None)
        if name is None:
            refused.append(f"LANE_B_N_KV_HEAD={spec.shape.kv_heads} (it has as many as heads, {heads})")
        else:
            given[name] = spec.shape.kv_heads
    notes = []
    if spec.eval_every_late != spec.eval_every:
        notes.append(f"nanochat evaluates every {spec.eval_every} steps to the end: LANE_B_EVAL_EVERY_LATE has no flag")
    return given, refused, notes


def _switches(spec: RunSpec, flags: Mapping[str, tuple[str, str]], model_tag: str) -> dict[str, Any]:
    """What decides nothing about the outcome: names, checkpoints, and side work that is turned off."""
    tracked = "dummy" if spec.wandb_run_base == "dummy" else f"{spec.wandb_run_base}_{spec.run_id}"
    wanted: dict[str, Any] = {"run": tracked, "model_tag": model_tag, "save_every": spec.checkpoint_every}
    for name in ("core_metric_every", "sample_every"):
        if name in flags:
            wanted[name] = -1 if "-1" in flags[name][1] else NEVER
    return {name: value for name, value in wanted.items() if name in flags}


def _knob(field: str) -> str:
    """The name that people set a field of the spec by."""
    for section in (ModelKnobs, TrainingKnobs):
        if field in section.model_fields:
            extra = section.model_fields[field].json_schema_extra
            return str(extra["env"]) if isinstance(extra, dict) else field
    return {"steps": "a horizon in steps"}.get(field, field)
