"""The command that trains a run with a nanochat checkout's own script: its flags in the version's own spelling, its
seed, its base directory, alone or under torchrun.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.corpus.checkout import TRAIN_SCRIPT, Checkout, CheckoutError, find_checkout
from laneb.training.checkout_flags import SCRIPT, Flag, FlagList, read_flags
from laneb.training.checkout_knobs import TOLD, WARMUP, flag_of, is_so_anyway, lacking
from laneb.training.launch import refuse_on_cpu
from laneb.training.run_checkout import THEN
from laneb.training.trackers import OFF, wandb_base

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec

NEVER = 10**9
"""As "every so many steps" to a version that doesn't know -1 as never: it would take it as every step."""

ONE_INTERVAL = "eval_every_late"
"""A knob that no version has: nanochat evaluates at one interval to the end."""


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


def nanochat_command(
    spec: RunSpec, *, model_tag: str, base_dir: Path | None = None, resume_from: int = 0
) -> NanochatCommand:
    """The command that trains a spec with its checkout.

    Args:
        spec: the run; `nanochat_dir` and `nanochat_python` say which checkout, `nanochat_told` which of its fields the
            script is told.
        model_tag: name of the run's checkpoints.
        base_dir: where the checkout is to keep its data for this run; None for its own place.
        resume_from: step of the checkpoint to go on from; 0 to begin.

    Raises:
        CheckoutError: no checkout there, or it can't be given something of the spec; all such things are named.
    """
    checkout = find_checkout(spec.nanochat_dir, spec.nanochat_python)
    listed = read_flags(checkout)
    flags = listed.flags
    given, refused = _told(spec, listed)
    if resume_from and "resume_from_step" not in flags:
        refused.append("resuming from a checkpoint (it has no --resume-from-step)")
    if refused:
        raise CheckoutError(
            f"the nanochat checkout at {checkout.directory} can't be given {'; '.join(refused)}. Set these to what it "
            "does, take another version of it, or train with LANE_B_BACKEND=builtin"
        )
    given |= dict(_switches(checkout, spec, listed, model_tag))
    if resume_from:
        given["resume_from_step"] = resume_from
    seed = [] if "seed" in flags else ["--seed", str(spec.seed)]
    if "seed" in flags:
        given["seed"] = spec.seed
    script, of_checkout = str(SCRIPT), ["--checkout", str(checkout.directory)]
    told = [flags[name].argument(value) for name, value in given.items()]
    train = [*seed, THEN, *told, *spec.nanochat_arguments]
    if spec.nanochat_launcher:
        refuse_on_cpu(spec.device)
        # torchrun's own process is watched over in the same way, and hands the environment on to those it starts.
        torchrun = ["--module", "torch.distributed.run", THEN, *spec.nanochat_launcher]
        train = [*torchrun, script, "--", *of_checkout, *train]
    return NanochatCommand(
        (str(checkout.python), "-u", script, *of_checkout, *_environment(spec, base_dir), *train),
        checkout,
        tuple(_notes(checkout, spec, listed)),
    )


def _told(spec: RunSpec, listed: FlagList) -> tuple[dict[str, Any], list[str]]:
    """Flags with their values, and what can't be given."""
    given: dict[str, Any] = {}
    refused: list[str] = []
    fields = spec.model_dump()
    for name in _fields_told(spec):
        told = _warmup(spec, listed) if name in WARMUP else _one(spec, name, flag_of(name, listed.flags))
        given |= told
        if not told and not is_so_anyway(name, fields):
            refused.append(lacking(name, fields[name]))
    if "num_iterations" in listed.flags:
        given["num_iterations"] = spec.steps
    else:
        refused.append(f"a horizon in steps={spec.steps} (it has no --num-iterations)")
    if "device_type" in listed.flags:
        given["device_type"] = spec.device
    elif spec.device != "cuda":
        refused.append(f"LANE_B_DEVICE={spec.device} (it has no --device-type)")
    return given, refused


def _fields_told(spec: RunSpec) -> tuple[str, ...]:
    """What the script is told; specs that don't say were told all."""
    if spec.nanochat_told is None:
        return (*TOLD, "warmup_ratio" if spec.warmup_steps == -1 else "warmup_steps")
    return tuple(name for name in spec.nanochat_told if name != ONE_INTERVAL)


def _one(spec: RunSpec, name: str, flag: Flag | None) -> dict[str, Any]:
    value = spec.shape.kv_heads if name == "n_kv_head" else getattr(spec, name)
    return {} if flag is None else {flag.name: value}


def _warmup(spec: RunSpec, listed: FlagList) -> dict[str, Any]:
    """The warmup in the unit that the version knows, by the horizon."""
    if "warmup_steps" in listed.flags:
        return {"warmup_steps": round(spec.warmup_ratio * spec.steps) if spec.warmup_steps == -1 else spec.warmup_steps}
    if "warmup_ratio" in listed.flags:
        return {"warmup_ratio": spec.warmup_ratio if spec.warmup_steps == -1 else spec.warmup_steps / spec.steps}
    return {}


def _environment(spec: RunSpec, base_dir: Path | None) -> Iterator[str]:
    if base_dir is not None:
        yield from ("--set", f"NANOCHAT_BASE_DIR={base_dir}")
    if spec.device == "cpu":
        yield from ("--set", f"OMP_NUM_THREADS={spec.threads}")


def _switches(checkout: Checkout, spec: RunSpec, listed: FlagList, model_tag: str) -> Iterator[tuple[str, Any]]:
    """What decides nothing about the outcome: names, checkpoints, and side work that is turned off."""
    base = wandb_base(spec)
    tracked = OFF if base is None else f"{base}_{spec.run_id}"
    wanted = {"run": tracked, "model_tag": model_tag, "save_every": spec.checkpoint_every}
    yield from ((name, value) for name, value in wanted.items() if name in listed.flags)
    for name in ("core_metric_every", "sample_every"):
        if name in listed.flags:
            yield name, -1 if _knows_never(checkout, listed.flags[name]) else NEVER


def _knows_never(checkout: Checkout, flag: Flag) -> bool:
    """Whether the script takes -1 as never. It says so of the flag, or asks for a positive number before it divides."""
    source = (checkout.directory / TRAIN_SCRIPT).read_text(encoding="utf-8", errors="replace")
    return "-1" in flag.meaning or re.search(rf"\b{flag.name} *> *0", source) is not None


def _notes(checkout: Checkout, spec: RunSpec, listed: FlagList) -> Iterator[str]:
    told = spec.nanochat_told
    if spec.eval_every_late != spec.eval_every if told is None else ONE_INTERVAL in told:
        yield f"nanochat evaluates every {spec.eval_every} steps to the end: LANE_B_EVAL_EVERY_LATE has no flag"
    core = listed.flags.get("core_metric_every")
    if core is not None and not _knows_never(checkout, core):
        yield "this version of nanochat can't be kept from evaluating CORE once, at the end"
    warmup = round(spec.warmup_ratio * spec.steps) if spec.warmup_steps == -1 else spec.warmup_steps
    if warmup >= spec.steps:
        yield f"all of its {spec.steps} steps are warmup ({warmup} steps): its rates never reach their full value"
    if _starts_from_chance(checkout):
        yield "this version of nanochat leaves weights of its smear and backout to chance: its runs can't be repeated"


def _starts_from_chance(checkout: Checkout) -> bool:
    """Whether it is of the month (2026-03-14 to 04-12) in which the initialisation left some weights out."""
    try:
        module = ast.parse((checkout.directory / "nanochat" / "gpt.py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    initialise = [ast.unparse(node) for node in functions if node.name == "init_weights"]
    return bool(initialise) and "smear" in ast.unparse(module) and not any("smear" in text for text in initialise)
