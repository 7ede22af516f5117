"""TensorBoard's event files, in the run's directory: `tensorboard --logdir W/runs` shows all runs of a lane."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "tensorboard"
FLUSH_SECONDS = 5


class TensorBoardTracker:
    """Event files, one for each start of the run."""

    name = "tensorboard"
    link = FOLDER

    def __init__(self, run_dir: Path) -> None:
        # TensorBoard's own writer, which needs neither torch nor TensorFlow.
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(run_dir / FOLDER), flush_secs=FLUSH_SECONDS)

    def begin(self, step: int) -> None:
        """A start tells TensorBoard to forget what earlier files say of its first step and later."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=step, session_log=start))

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Scalars of a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def flush(self) -> None:
        """Write out what was logged."""
        self._writer.flush()

    def close(self, status: str) -> None:
        """Close the file."""
        self._writer.close()
