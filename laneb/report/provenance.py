"""Where an answer comes from: enough for a colleague to repeat it from the page."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.records.candidates import MODES
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.scaling import ScalingParams
from laneb.report.answer import duration
from laneb.storage import roles
from laneb.training.run_directory import trained_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from laneb.records.experiment import Experiment
    from laneb.records.runs import RunResult
    from laneb.storage.store import Store

VERSIONED = ("laneb", "torch", "numpy", "scipy", "dagster", "duckdb")


def provenance_of(store: Store, experiment: Experiment) -> list[tuple[str, str]]:
    """What was asked and what ran: a label and a text each, of what is there so far."""
    runs = _runs(store, experiment)
    command = f"laneb run --profile {experiment.profile}"
    changed = [f"{key} = {value}" for key, value in sorted(experiment.overrides.items())]
    environment = sorted(key for key, origin in experiment.origins.items() if origin == "environment")
    rows = [
        ("Experiment", f"{experiment.experiment}: {experiment.description}".rstrip(": ")),
        ("Profile", f"{experiment.profile} (repeat with: {command})"),
        ("Overrides kept", ", ".join(changed) or "none"),
        ("Set by environment", ", ".join(environment) or "none"),
        ("Model", _model(store, experiment)),
        ("Corpus", _corpus(store)),
        ("Tokenizer", _tokenizer(store)),
        ("Trainer", _trainer(experiment, runs)),
        ("Code that ran", _each(run.git_commit for run in runs) or "not recorded"),
        ("Devices", _each(_device(store, run) for run in runs)),
        ("Reported on", _machine()),
        ("Versions", ", ".join(_version(name) for name in VERSIONED)),
        ("Cost of the lane", _cost(runs)),
    ]
    return [(label, text) for label, text in rows if text]


def _runs(store: Store, experiment: Experiment) -> list[RunResult]:
    """The distinct runs of every role: one run can have several."""
    knobs, seeds = experiment.calibration, experiment.baseline.seeds
    names = [roles.baseline_role(seed) for seed in seeds] + [roles.imported_role(seed) for seed in seeds]
    names += [roles.calibration_role(steps, seed) for steps in knobs.iterations for seed in knobs.all_seeds]
    names += [roles.candidate_role(mode, seed) for mode in MODES for seed in experiment.candidates.run_seeds]
    runs = [run for run in map(store.whole_run, names) if run is not None]
    return list({run.fingerprint or run.run_id: run for run in runs}.values())


def _model(store: Store, experiment: Experiment) -> str:
    shape = experiment.model
    text = f"GPT, {shape.depth} layers, context {shape.max_seq_len:,} tokens, windows {shape.window_pattern}"
    if not store.has(ScalingParams):
        return text
    counts = store.read(ScalingParams)
    return (
        f"{text}, width {counts.model_dim}, {counts.n_head} heads; {counts.param_counts.total:,} parameters, of which "
        f"{counts.n_scaling_params:,} are scaling parameters (transformer matrices and head), which the ratio counts"
    )


def _corpus(store: Store) -> str:
    if not store.has(TokenShards):
        return ""
    shards = store.read(TokenShards)
    return (
        f"{shards.dataset_id}: {shards.train_tokens:,} training and {shards.val_tokens:,} validation tokens "
        f"(fingerprint {shards.corpus_fingerprint})"
    )


def _tokenizer(store: Store) -> str:
    if not store.has(TokenizerInfo):
        return ""
    info = store.read(TokenizerInfo)
    return f"{info.tokenizer_id}: {info.vocab_size:,} tokens, {info.bytes_per_token:.2f} bytes a token"


def _trainer(experiment: Experiment, runs: list[RunResult]) -> str:
    said = _each(_backend(experiment, run.backend) for run in runs) or _backend(experiment, experiment.training.backend)
    batch = _each(f"{run.total_batch_size:,}" for run in runs) or str(experiment.training.total_batch_size)
    recipes = _each(run.recipe for run in runs)
    return f"{said}; {batch} tokens a step" + (f"; settings but seed and horizon: {recipes}" if recipes else "")


def _backend(experiment: Experiment, backend: str) -> str:
    """Who trains: what its recipe or its code is called."""
    if backend == "builtin":
        return f"built-in, recipe {experiment.model.recipe}"
    if backend == "nanochat":
        flags = experiment.training.checkout_flags
        return f"the nanochat checkout at {experiment.training.nanochat_dir}{', with ' + flags if flags else ''}"
    if backend == "simulated":
        return "simulated: curves drawn from a loss surface, nothing was trained"
    return backend


def _device(store: Store, run: RunResult) -> str:
    """A run's device, and in what numbers it computed there."""
    spec = trained_spec(store.locations.runs_dir, run)
    if spec is None or spec.backend != "builtin":
        return run.device
    return f"{run.device}, {spec.dtype}{', compiled' if spec.compile else ''}"


def _machine() -> str:
    """The machine that the page is made on, which is the one that trained where no engine is set."""
    return (
        f"{platform.system()} {platform.machine()}, {_processor()}{os.cpu_count()} cores, Python "
        f"{platform.python_version()}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip() + ", "
    return f"{platform.processor()}, " if platform.processor() else ""


def _cost(runs: list[RunResult]) -> str:
    if not runs:
        return ""
    training = sum(run.total_training_time_sec or 0.0 for run in runs)
    wall = sum(run.wall_time_sec or 0.0 for run in runs)
    tokens = sum(run.tokens for run in runs)
    return (
        f"{len(runs)} runs, {tokens:,} tokens, {duration(training)} of training, {duration(wall)} with evaluations and "
        "start-up"
    )


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(text for text in texts if text))


def _version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"{name} unknown"
