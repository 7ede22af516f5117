"""The training loop: batches in, updates, evaluations and checkpoints out."""

from __future__ import annotations

import collections
import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from laneb.model.gpt import GPT
from laneb.model.names import nanochat_state
from laneb.model.optimizer import Optimizers
from laneb.model.scaling import flops_per_token
from laneb.records.base import utc_now
from laneb.records.runs import ContextLosses, RunResult, RunStatus, ValidationPoint
from laneb.training import checkpoint, hardware, log_lines
from laneb.training.code_version import code_commit
from laneb.training.data import context_rows, validation_batches
from laneb.training.evaluation import bits_per_byte, loss_by_context
from laneb.training.interruption import Interrupted
from laneb.training.out_of_memory import is_out_of_memory
from laneb.training.rows import rows_of
from laneb.training.run_directory import CHECKPOINTS, LOG, WEIGHTS, told_by
from laneb.training.run_log import told_so_far

if TYPE_CHECKING:
    from pathlib import Path

    from laneb.corpus.shards import Shards
    from laneb.training.devices import Device
    from laneb.training.interruption import StopRequest
    from laneb.training.reporting import Reporter
    from laneb.training.spec import RunSpec

LOSS_MEMORY = 0.9
TIMED_STEPS_KEPT = 1000


@dataclass
class Progress:
    """How far a run is: what a checkpoint keeps beside weights and optimizer state.

    Attributes:
        step: updates made.
        curve: evaluations so far.
        seconds: training time so far, without evaluation and the first steps.
        wall_seconds: all time spent on earlier starts of the run.
        average_loss: exponential average of the batch losses, not yet corrected for its start at 0.
        step_seconds: the latest steps' times.
        peak_memory_mib: most memory held on earlier starts.
    """

    step: int = 0
    curve: list[ValidationPoint] = field(default_factory=list)
    seconds: float = 0.0
    wall_seconds: float = 0.0
    average_loss: float = 0.0
    step_seconds: collections.deque[float] = field(default_factory=lambda: collections.deque(maxlen=TIMED_STEPS_KEPT))
    peak_memory_mib: float = 0.0

    @property
    def loss(self) -> float | None:
        """Running training loss [nats per token], or None before the first update."""
        return self.average_loss / (1 - LOSS_MEMORY**self.step) if self.step else None

    @property
    def median_step_seconds(self) -> float | None:
        """Median time of an update, or None before any was timed."""
        return statistics.median(self.step_seconds) if self.step_seconds else None

    def state_dict(self) -> dict[str, Any]:
        """Plain values only."""
        curve = [tuple(point) for point in self.curve]
        return {**vars(self), "curve": curve, "step_seconds": list(self.step_seconds)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """The progress that `state_dict` wrote."""
        kept = collections.deque(state["step_seconds"], maxlen=TIMED_STEPS_KEPT)
        return cls(**{**state, "curve": [ValidationPoint(*point) for point in state["curve"]], "step_seconds": kept})


class Training:
    """One run on one device.

    Args:
        spec: the run.
        run_dir: its directory.
        shards: its tokens.
        device: where it computes.
        reporter: where it says how it goes.
        stop: whether it was told to stop.

    Raises:
        ValueError: the shards are too short for one row, or hold no validation text.
    """

    def __init__(
        self, spec: RunSpec, run_dir: Path, shards: Shards, device: Device, reporter: Reporter, stop: StopRequest
    ) -> None:
        self.spec, self.device, self.reporter, self.stop = spec, device, reporter, stop
        self.run_dir, self.checkpoints = run_dir, run_dir / CHECKPOINTS
        self.rows, self._validation = rows_of(spec, shards)
        self._held_out = shards.val
        self.token_bytes = torch.tensor(shards.token_bytes, dtype=torch.int64, device=device.torch_device)
        self.model = GPT(spec.shape, getattr(torch, spec.dtype))
        self.model.initialise(spec.seed)
        self.model.to(device.torch_device)
        self._warnings: list[str] = []
        self._compiles = spec.compile and hardware.can_compile(device.kind)
        if self._compiles:
            self.model.compile_parts()
        elif spec.compile:
            self._warnings.append("no C compiler is found here, so nothing is compiled: slower, and rounded otherwise")
        self.optimizers = Optimizers(
            self.model, total_batch_size=spec.total_batch_size, rates=spec.rates, share=device.shared
        )
        self.progress = Progress()
        self.status: RunStatus = "ok"
        self._fetched: tuple[int, torch.Tensor] = -1, torch.empty(0)
        self._started = time.monotonic()
        self._flops_per_step = flops_per_token(spec.shape) * spec.total_batch_size

    def run(self) -> RunResult:
        """Train to the horizon, from the latest checkpoint if there is one.

        Raises:
            Interrupted: told to stop; a checkpoint of everything up to the last whole update is there.
            CheckpointError: a checkpoint can't be written.
        """
        self._resume()
        self._warm_up()
        progress, spec = self.progress, self.spec
        evaluations = frozenset(spec.evaluation_steps)
        saved = progress.step
        try:
            while self.status == "ok":
                if progress.step in evaluations and not self._evaluated():
                    self._evaluate()
                if progress.step == spec.steps or self.status != "ok":
                    break
                if progress.step - saved >= spec.checkpoint_every:
                    self._save()
                    saved = progress.step
                self._update()
            context_losses = self._measure_context() if self.status == "ok" else None
        except Interrupted as interruption:
            self._save()
            self.reporter.ended(str(interruption), progress.step, [])
            raise
        if spec.keep_model and self.device.leads and self.status == "ok":
            checkpoint.save_weights(self.run_dir / WEIGHTS, nanochat_state(self.model))
        return self._finish(context_losses)

    def _update(self) -> None:
        """One optimizer step on one global batch."""
        spec, progress = self.spec, self.progress
        started = time.perf_counter()
        mean = self._accumulate_gradients()
        if not math.isfinite(mean):
            self.status = "failed_nan"
        step = progress.step
        rate = spec.schedule.learning_rate(step)
        if self.status == "ok":
            momentum, decay = spec.schedule.momentum(step), spec.schedule.weight_decay(step)
            self.optimizers.step(learning_rate=rate, momentum=momentum, weight_decay=decay)
        self.optimizers.zero_grad()
        self.device.synchronise()
        took = time.perf_counter() - started
        progress.step += 1
        progress.average_loss = LOSS_MEMORY * progress.average_loss + (1 - LOSS_MEMORY) * mean
        if step >= log_lines.UNTIMED_STEPS:
            progress.seconds += took
            progress.step_seconds.append(took)
        self._report_update(step, rate, took)

    def _accumulate_gradients(self) -> float:
        """Gradients of the mean loss over the global batch; gives that loss [nats per token]."""
        spec, device = self.spec, self.device
        passes = spec.accumulation_steps
        first = self.progress.step * passes * spec.device_batch_size
        losses = torch.zeros(2, dtype=torch.float32, device=device.torch_device)
        for number in range(device.rank, passes, device.world):
            if device.world == 1:
                self.stop.check()
            rows = self._batch(first + number * spec.device_batch_size)
            loss = self.model(rows[:, :-1], rows[:, 1:]) / passes
            loss.backward()
            losses[0] += loss.detach()
        self._fetch_ahead(first + (passes + device.rank) * spec.device_batch_size)
        # Several processes leave together or not at all, so the wish to stop travels with the gradients.
        losses[1] = self.stop.requested()
        mean, stop = device.add_up_gradients(self.model, losses).tolist()
        if device.world > 1 and stop:
            self.optimizers.zero_grad()
            raise Interrupted(self.stop.requested() or int(stop))
        return float(mean)

    def _batch(self, first: int) -> torch.Tensor:
        """One forward pass's rows on the device."""
        place, rows = self._fetched
        if place == first:
            return rows
        return self.device.put(self.rows.batch(first, self.spec.device_batch_size))

    def _fetch_ahead(self, first: int) -> None:
        """Send the next step's first rows while the device still computes: a CPU has no time to win so."""
        if self.device.kind == "cuda":
            self._fetched = first, self.device.put(self.rows.batch(first, self.spec.device_batch_size))

    def _report_update(self, step: int, rate: float, took: float) -> None:
        spec, progress, peak = self.spec, self.progress, self.device.peak_flops
        typical = progress.median_step_seconds
        self.reporter.trained(
            step=step,
            loss=progress.loss if progress.loss is not None else math.nan,
            learning_rate=rate,
            step_seconds=took,
            mfu_percent=0.0 if peak is None else 100 * self._flops_per_step / took / peak,
            epoch=self.rows.epoch(step * spec.accumulation_steps * spec.device_batch_size) + 1,
            seconds=progress.seconds,
            eta_seconds=None if typical is None else typical * (spec.steps - progress.step),
            memory_mib=self._peak_memory_mib(),
        )

    def _evaluate(self) -> None:
        """Add a point to the curve."""
        progress = self.progress
        batches = self._validation(rank=self.device.rank, world=self.device.world)
        bpb = bits_per_byte(self.model, batches, self.token_bytes, self.device, self._between_batches)
        self.reporter.evaluated(progress.step, bpb, progress.seconds)
        if math.isfinite(bpb):
            progress.curve.append(ValidationPoint(progress.step, progress.seconds, bpb))
        else:
            self.status = "failed_nan"

    def _measure_context(self) -> ContextLosses | None:
        """The finished model's loss by the length of context; costs an evaluation."""
        spec = self.spec
        rows, available = context_rows(
            self._held_out.document_starts,
            len(self._held_out.tokens),
            spec.max_seq_len,
            spec.eval_tokens,
            spec.device_batch_size,
            spec.seed,
        )
        batches = validation_batches(
            self._held_out.tokens,
            spec.max_seq_len,
            rows,
            spec.device_batch_size,
            rank=self.device.rank,
            world=self.device.world,
        )
        curve = loss_by_context(self.model, batches, self.device, self._between_batches)
        return None if curve is None else ContextLosses(rows=len(rows), rows_available=available, curve=curve)

    def _between_batches(self) -> None:
        """Leave an evaluation when told to stop; several processes only leave together, at an update."""
        if self.device.world == 1:
            self.stop.check()

    def _evaluated(self) -> bool:
        return bool(self.progress.curve) and self.progress.curve[-1].step == self.progress.step

    def _save(self) -> None:
        """Keep everything that the rest of the run depends on."""
        if not self.device.leads:
            return
        progress = self.progress
        state = {
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state(),
            "progress": {
                **progress.state_dict(),
                "wall_seconds": self._wall_seconds(),
                "peak_memory_mib": self._peak_memory_mib(),
            },
            "sizes": self.reporter.sizes(),
            "log_checksum": self.reporter.log_checksum(),
            "fingerprint": self.spec.fingerprint,
        }
        checkpoint.save(self.checkpoints, progress.step, state)

    def _resume(self) -> None:
        """Go on from the latest checkpoint that can be read."""
        state, step, warnings = self._latest() if self.device.leads else ({}, 0, [])
        step = self.device.agree(step)
        if not self.device.leads and step:
            state = checkpoint.load(checkpoint.path_of(self.checkpoints, step), self.device.torch_device)
        if step:
            self.model.load_state_dict(state["model"])
            self.optimizers.load_state(state["optimizers"])
            self.progress = Progress.from_state(state["progress"])
        # Checkpoints of before the log had a checksum go on without one.
        sizes, checksum = (tuple(state["sizes"]), state.get("log_checksum", "")) if step else ((0, 0), "")
        if not self.reporter.open(sizes, checksum):
            self.reporter.tell_again(told_so_far(self.spec, self.progress.curve))
            warnings.append(f"{self.run_dir / LOG} was damaged since step {step}: told again from the checkpoint")
        self.reporter.started(self.device.name, self.model.head.weight.numel(), step, self.device.world)
        for warning in [*self._warnings, *warnings]:
            self.reporter.warned(warning)

    def _latest(self) -> tuple[dict[str, Any], int, list[str]]:
        warnings = []
        for step, path in checkpoint.found(self.checkpoints):
            try:
                state = checkpoint.load(path, self.device.torch_device)
            except checkpoint.CheckpointError as error:
                warnings.append(f"{error}; going back to the one before")
                continue
            if state["fingerprint"] == self.spec.fingerprint:
                return state, step, warnings
            warnings.append(f"checkpoint {path} is of another run; going back to the one before")
        return {}, 0, warnings

    def _warm_up(self) -> None:
        """Compile before the clock runs: a resumed run would pay for it within its timed steps."""
        if self._compiles:
            # Laid out as the training rows are: the compiler tells strides apart.
            rows = self.device.put(self.rows.batch(0, self.spec.device_batch_size))
            try:
                self.model(rows[:, :-1], rows[:, 1:]).backward()
            except RuntimeError as error:
                if not self.model.window_blocks or is_out_of_memory(error):
                    raise
                self.model.window_blocks.clear()
                self.reporter.warned(f"windows are masked, since FlexAttention fails here ({type(error).__name__})")
                self.model(rows[:, :-1], rows[:, 1:]).backward()
            self.optimizers.zero_grad()
            self.device.synchronise()

    def _finish(self, context_losses: ContextLosses | None) -> RunResult:
        progress, spec = self.progress, self.spec
        peak, finished = self._peak_memory_mib(), self.status == "ok"
        best = min((point.bpb for point in progress.curve), default=None) if finished else None
        lines = log_lines.footer(peak_memory_mib=peak, minutes=progress.seconds / 60, minimum_bpb=best)
        self.reporter.ended(self.status, progress.step, lines)
        typical = progress.median_step_seconds
        return RunResult(
            timestamp_utc=utc_now(),
            **told_by(spec),
            steps=progress.step,
            status=self.status,
            val_curve=tuple(progress.curve),
            context_losses=context_losses,
            final_train_loss=progress.loss if finished else None,
            tok_per_sec_median=None if typical is None else spec.total_batch_size / typical,
            dt_median_ms=None if typical is None else typical * 1000,
            total_training_time_sec=progress.seconds,
            wall_time_sec=self._wall_seconds(),
            peak_mem_mib=peak,
            device=self.device.name,
            git_commit=code_commit(),
        )

    def _wall_seconds(self) -> float:
        return self.progress.wall_seconds + time.monotonic() - self._started

    def _peak_memory_mib(self) -> float:
        return max(self.progress.peak_memory_mib, self.device.peak_memory_mib())
