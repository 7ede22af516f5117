"""How far a run is, read from its `events.jsonl` as it grows: wherever the run trains, its directory tells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from laneb.training.run_directory import EVENTS

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = {"end", "error"}


@dataclass(frozen=True)
class Progress:
    """What a run last said of itself; None where it said nothing."""

    event: str = ""
    """The latest event: start, resume, step, evaluation, warning, end or error."""
    step: int = 0
    steps: int | None = None
    """Its horizon."""
    loss: float | None = None
    """Training loss [nats]."""
    bpb: float | None = None
    """Of the latest evaluation."""
    evaluations: int = 0
    tok_per_sec: float | None = None
    mfu_percent: float | None = None
    """Share of the device's peak, where that is known."""
    memory_mib: float | None = None
    """Peak so far."""
    eta_sec: float | None = None
    """Until the horizon, evaluation left out."""
    status: str = ""
    """How it ended."""
    trackers: Mapping[str, str] = field(default_factory=dict)
    """Where its trackers show it: a URL, or a path, which is the run directory's if it is relative."""

    @property
    def ended(self) -> bool:
        """Whether the start that spoke last is over."""
        return self.event in ENDINGS

    def sentence(self) -> str:
        """For a log: where it is and how fast."""
        of = "" if self.steps is None else f" of {self.steps:,}"
        parts = [f"step {self.step:,}{of}"]
        parts += [] if self.loss is None else [f"loss {self.loss:.3f}"]
        parts += [] if self.bpb is None else [f"bpb {self.bpb:.4f}"]
        parts += [] if self.tok_per_sec is None else [f"{self.tok_per_sec:,.0f} tok/s"]
        parts += [] if not self.mfu_percent else [f"MFU {self.mfu_percent:.1f} %"]
        parts += [] if self.eta_sec is None else [f"{self.eta_sec:,.0f} s left"]
        return ", ".join(parts)

    def numbers(self) -> dict[str, float | int]:
        """What can be plotted."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value for name, value in named.items() if isinstance(value, int | float) and name != "evaluations"
        }


class Follower:
    """Reads what is new in a run's events.

    Args:
        run_dir: the run's directory; it need not be there yet.
        since: bytes of events that are known already, such as those of an earlier start.
    """

    def __init__(self, run_dir: Path, since: int = 0) -> None:
        self._path, self._read = run_dir / EVENTS, since
        self.progress = Progress()

    def poll(self) -> bool:
        """Take in what was written since; whether anything was."""
        try:
            if self._path.stat().st_size < self._read:
                # A start that goes on from a checkpoint cuts off what a lost stretch left.
                self._read, self.progress = 0, Progress()
            with self._path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except OSError:
            return False
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        before = self.progress
        for line in whole.splitlines():
            self._take(line)
        return self.progress != before

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if not isinstance(event, dict):
            return
        name = str(event.get("event", ""))
        known = {key: _finite(value) for key, value in event.items() if key in _TAKEN}
        if name == "evaluation":
            known["evaluations"] = self.progress.evaluations + 1
        if name in ("start", "resume"):
            known |= {"status": "", "eta_sec": None}
        self.progress = replace(self.progress, event=name, **known)


_TAKEN = {"step", "steps", "loss", "bpb", "tok_per_sec", "mfu_percent", "memory_mib", "eta_sec", "status", "trackers"}


def read_progress(run_dir: Path) -> Progress:
    """How far a run is now."""
    follower = Follower(run_dir)
    follower.poll()
    return follower.progress


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
