"""A trainer without training: runs whose curves lie on a stated loss surface (`LANE_B_BACKEND=simulated`).

A simulated run goes through the same child process as any other, `python -m laneb.training SPEC`, and leaves the same
directory, but for a checkpoint: `spec.json`, `train.log`, `events.jsonl`, `result.json`. What it gives is a function of
its spec alone, which holds the surface; the child imports no torch, no numpy, and is done within half a second. So it
is what to try the platform with, to rehearse a design with, and to test the graph with where training is not the point.

In a profile:

    [training]
    backend = "simulated"
    simulated_surface = "surface.toml"  # beside the profile; without it the default surface

In tests: the profile `tests/simulated.toml` and the fixtures `simulated_lane` (nothing run yet) and
`finished_simulated_lane` (a copy of a finished one) of `tests/conftest.py`. For a single run without a lane:

    spec = lane_spec(shards, model_knobs, TrainingKnobs(backend="simulated"), seed=41, steps=200)
    result = simulate(spec, run_dir, StopRequest())
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from laneb.model.scaling import count_parameters
from laneb.records.base import utc_now
from laneb.records.runs import RunResult, RunStatus, ValidationPoint
from laneb.training import log_lines
from laneb.training.code_version import code_commit
from laneb.training.interruption import Interrupted
from laneb.training.pipes import said_to_dagster
from laneb.training.reporting import Reporter
from laneb.training.run_directory import held, prepare_held, told_by, write_result
from laneb.training.surface import START_BPB, Surface
from laneb.training.trackers import trackers_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from laneb.training.interruption import StopRequest
    from laneb.training.spec import RunSpec

BYTES_PER_TOKEN = 4.0
"""Turns bits per byte into the nats per token of the training lines."""


def train(spec: RunSpec, run_dir: Path, stop: StopRequest) -> None:
    """Draw a run in a directory that it first takes hold of; `simulate` with Dagster told how it goes."""
    with held(run_dir), said_to_dagster(stop) as say:
        if prepare_held(run_dir, spec) != "done":
            simulate(spec, run_dir, stop, say)


def simulate(
    spec: RunSpec, run_dir: Path, stop: StopRequest, say: Callable[[str], None] = lambda sentence: None
) -> RunResult:
    """Draw a run's curve from its spec's surface and write what a trained run writes.

    Args:
        spec: the run, with its surface.
        run_dir: its directory, ready for it.
        stop: whether it was told to stop; looked at before each update.
        say: gets a sentence at the start, at each evaluation and at the end.

    Raises:
        ValueError: the spec has no surface, or a file can't be written.
        Interrupted: told to stop. There is no checkpoint: it begins anew.
    """
    if spec.surface is None:
        raise ValueError(f"{spec.run_id}: a simulated run takes a loss surface, and its spec has none")
    reporter = Reporter(run_dir, spec, say, trackers_of(spec, run_dir))
    try:
        result = _Simulation(spec, spec.surface, reporter, stop).run()
    finally:
        reporter.close()
    return write_result(run_dir, result)


def simulated_bpb(spec: RunSpec, surface: Surface, step: int) -> float:
    """Validation loss of a run at a step [bpb]: the surface at what it has trained so far, the part of the warmdown's
    gain that is still to come, its seed's effect and its own noise."""
    tokens = spec.steps * spec.total_batch_size
    own = surface.seed_effect(spec.seed) + surface.noise(spec.seed, tokens)
    if step == 0:
        return START_BPB + own
    trained = surface.loss(step * spec.total_batch_size / spec.n_scaling_params)
    return min(START_BPB, trained + surface.excess(step, spec.steps, spec.warmdown_ratio)) + own


class _Simulation:
    """One run from its first step to its last."""

    def __init__(self, spec: RunSpec, surface: Surface, reporter: Reporter, stop: StopRequest) -> None:
        self.spec, self.surface, self.reporter, self.stop = spec, surface, reporter, stop
        self.step_seconds = surface.step_seconds(spec.seed, spec.steps * spec.total_batch_size)
        self.fails_at = spec.steps // 2 if spec.seed in surface.nan_seeds else None
        self.curve: list[ValidationPoint] = []

    def run(self) -> RunResult:
        spec, reporter = self.spec, self.reporter
        evaluations = frozenset(spec.evaluation_steps)
        reporter.open((0, 0))
        reporter.started("simulated", count_parameters(spec.shape).param_counts.lm_head, 0, 1)
        step, status = 0, "ok"
        try:
            while True:
                self.stop.check()
                if step in evaluations:
                    self._evaluate(step)
                if step == spec.steps or status != "ok":
                    break
                status = self._update(step)
                step += 1
        except Interrupted as interruption:
            reporter.ended(str(interruption), step, [])
            raise
        return self._finish(step, "ok" if status == "ok" else "failed_nan")

    def _seconds(self, step: int) -> float:
        """Training time after so many updates [s]."""
        return max(0, step - log_lines.UNTIMED_STEPS) * self.step_seconds

    def _evaluate(self, step: int) -> None:
        point = ValidationPoint(step, self._seconds(step), simulated_bpb(self.spec, self.surface, step))
        self.curve.append(point)
        self.reporter.evaluated(step, point.bpb, point.seconds)

    def _update(self, step: int) -> RunStatus:
        if self.surface.pace:
            time.sleep(self.surface.pace * self.step_seconds)
        spec, lost = self.spec, step == self.fails_at
        self.reporter.trained(
            step=step,
            loss=math.nan if lost else self._train_loss(step),
            learning_rate=spec.schedule.learning_rate(step),
            step_seconds=self.step_seconds,
            mfu_percent=0.0,
            epoch=1,
            seconds=self._seconds(step + 1),
            eta_seconds=self.step_seconds * (spec.steps - step - 1) if step >= log_lines.UNTIMED_STEPS else None,
        )
        return "failed_nan" if lost else "ok"

    def _train_loss(self, step: int) -> float:
        return simulated_bpb(self.spec, self.surface, step) * math.log(2) * BYTES_PER_TOKEN

    def _finish(self, step: int, status: RunStatus) -> RunResult:
        spec, seconds, finished = self.spec, self._seconds(step), status == "ok"
        best = min(point.bpb for point in self.curve) if finished else None
        lines = log_lines.footer(peak_memory_mib=0.0, minutes=seconds / 60, minimum_bpb=best)
        self.reporter.ended(status, step, lines)
        return RunResult(
            timestamp_utc=utc_now(),
            **told_by(spec),
            steps=step,
            status=status,
            val_curve=tuple(self.curve),
            final_train_loss=self._train_loss(step) if finished else None,
            tok_per_sec_median=spec.total_batch_size / self.step_seconds,
            dt_median_ms=self.step_seconds * 1000,
            total_training_time_sec=seconds,
            wall_time_sec=step * self.step_seconds,
            peak_mem_mib=0.0,
            device="simulated",
            git_commit=code_commit(),
        )
