"""Where a run says how it goes: its log, its events, standard output, Dagster, trackers."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import xxhash

from laneb.training import log_lines
from laneb.training.run_directory import EVENTS, LOG, unwritable
from laneb.training.trackers import Trackers

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneb.training.spec import RunSpec

EVENTS_PER_RUN = 100


class Reporter:
    """Writes `train.log` and `events.jsonl`, and repeats them where people look.

    Args:
        run_dir: the run's directory.
        spec: the run.
        say: gets a sentence at the start, each evaluation and the end, such as Dagster's log.
        trackers: get the numbers.
    """

    def __init__(
        self,
        run_dir: Path,
        spec: RunSpec,
        say: Callable[[str], None] = lambda sentence: None,
        trackers: Trackers | None = None,
    ) -> None:
        self._spec, self._say, self._trackers = spec, say, trackers or Trackers()
        self._status = ""
        self._paths = (run_dir / LOG, run_dir / EVENTS)
        self._files: list[TextIO] = []
        self._digest = xxhash.xxh3_128()
        self._every = max(1, min(10, spec.steps // EVENTS_PER_RUN))

    def open(self, sizes: tuple[int, int], log_checksum: str = "") -> bool:
        """Go on writing after the first `sizes` bytes of log and events: what a lost stretch left is dropped.

        Returns:
            Whether the log up to there is the one that `log_checksum` was taken of; without a checksum, it is.
        """
        for path, size in zip(self._paths, sizes, strict=True):
            path.touch()
            if path.stat().st_size > size:
                os.truncate(path, size)
            self._files.append(path.open("a", encoding="utf-8", newline="\n"))
        self._digest = xxhash.xxh3_128(self._paths[0].read_bytes())
        return not log_checksum or self._digest.hexdigest() == log_checksum

    def tell_again(self, lines: list[str]) -> None:
        """Put these lines in the place of a log that was damaged."""
        os.truncate(self._paths[0], 0)
        self._digest = xxhash.xxh3_128()
        for line in lines:
            self._append(0, line)

    def sizes(self) -> tuple[int, int]:
        """Bytes of log and events so far, written out; the trackers' numbers too."""
        self._warn_of(self._trackers.flush())
        for file in self._files:
            file.flush()
        log, events = (path.stat().st_size for path in self._paths)
        return log, events

    def log_checksum(self) -> str:
        """Of the log so far (XXH3, 128 bits, hex), for the checkpoint that a later start goes on from."""
        return self._digest.hexdigest()

    def started(self, device: str, head_parameters: int, step: int, processes: int) -> None:
        """The run begins at step 0, or goes on from a later one."""
        spec = self._spec
        if self.sizes()[0] == 0:
            self._log(
                f"Device: {device}, {spec.dtype}, {'compiled' if spec.compile else 'eager'}, {processes} process(es)"
            )
            for line in log_lines.header(spec, head_parameters):
                self._log(line)
        if step > 0:
            self._log(log_lines.resuming(step))
        name = "resume" if step > 0 else "start"
        said: dict[str, Any] = {"device": device, "dtype": spec.dtype, "compile": spec.compile, "threads": spec.threads}
        said |= {"trackers": self._trackers.links} if self._trackers.links else {}
        self._event(name, step=step, steps=spec.steps, run_id=spec.run_id, fingerprint=spec.fingerprint, **said)
        self._warn_of(self._trackers.begin(step))
        self._say(
            f"{spec.run_id}: {'goes on from step ' + str(step) if step else 'starts'}, {spec.steps} steps on {device}"
        )

    def evaluated(self, step: int, bpb: float, seconds: float) -> None:
        """An evaluation; seconds of training so far."""
        self._log(log_lines.validation(step, bpb))
        self._event("evaluation", step=step, bpb=bpb, seconds=seconds)
        self._say(f"{self._spec.run_id}: step {step} of {self._spec.steps}, validation bpb {bpb:.4f}")
        self._warn_of(self._trackers.log(step, {"val/bpb": bpb, "total_training_time": seconds}))

    def trained(
        self,
        *,
        step: int,
        loss: float,
        learning_rate: float,
        step_seconds: float,
        mfu_percent: float,
        epoch: int,
        seconds: float,
        eta_seconds: float | None,
        memory_mib: float | None = None,
    ) -> None:
        """One update."""
        spec, rate = self._spec, self._spec.total_batch_size / step_seconds
        self._log(
            log_lines.training_step(
                step=step,
                steps=spec.steps,
                loss=loss,
                learning_rate=learning_rate,
                milliseconds=step_seconds * 1000,
                tokens_per_second=rate,
                mfu_percent=mfu_percent,
                epoch=epoch,
                minutes=seconds / 60,
                minutes_left=None if eta_seconds is None else eta_seconds / 60,
            )
        )
        if step % self._every == 0:
            left = None if eta_seconds is None else round(eta_seconds, 1)
            self._event(
                "step",
                step=step,
                steps=spec.steps,
                loss=loss,
                tok_per_sec=rate,
                mfu_percent=mfu_percent or None,
                memory_mib=memory_mib,
                seconds=seconds,
                eta_sec=left,
            )
            numbers = {"train/loss": loss, "train/tok_per_sec": rate, "train/lrm": learning_rate}
            known = {"train/mfu": mfu_percent or None, "train/memory_mib": memory_mib}
            numbers |= {name: value for name, value in known.items() if value is not None}
            self._warn_of(self._trackers.log(step, numbers))

    def warned(self, message: str) -> None:
        """Something that the run survives."""
        self._log(f"Warning: {message}")
        self._event("warning", message=message)
        self._say(f"{self._spec.run_id}: {message}")

    def ended(self, status: str, step: int, lines: list[str]) -> None:
        """The run has a result, or stopped before it had one."""
        for line in lines:
            self._log(line)
        self._status = status
        self._event("end", status=status, step=step)
        self._say(f"{self._spec.run_id}: {status} at step {step}")

    def close(self) -> None:
        """Write everything out."""
        for sentence in self._trackers.close(self._status):
            self._say(f"{self._spec.run_id}: {sentence}")
        for file in self._files:
            with contextlib.suppress(OSError):  # said already, by the line that could not be written
                file.close()

    def _warn_of(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self.warned(sentence)

    def _log(self, line: str) -> None:
        self._append(0, line)
        with contextlib.suppress(OSError):  # nobody has to be listening
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def _event(self, name: str, **facts: Any) -> None:
        self._append(1, json.dumps({"event": name, **facts}))

    def _append(self, number: int, line: str) -> None:
        try:
            self._files[number].write(line + "\n")
            self._files[number].flush()
            if number == 0:
                self._digest.update(f"{line}\n".encode())
        except OSError as error:
            raise unwritable(self._paths[number], error) from error


class Silent(Reporter):
    """The reporter of a process that doesn't lead: says nothing, writes nothing."""

    def open(self, sizes: tuple[int, int], log_checksum: str = "") -> bool:
        """Nothing is opened."""
        return True

    def sizes(self) -> tuple[int, int]:
        """Nothing was written."""
        return 1, 1

    def _log(self, line: str) -> None:
        pass

    def _event(self, name: str, **facts: Any) -> None:
        pass
