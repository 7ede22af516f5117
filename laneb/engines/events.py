"""A run's events, as they come to the one who follows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.places import is_folder_path
from laneb.storage import shared
from laneb.storage.atomic import replace_file

if TYPE_CHECKING:
    from laneb.places import AnyPath
    from laneb.training.spec import RunSpec

Event = Mapping[str, Any]
"""A line of `events.jsonl`."""


def sentence(spec: RunSpec, event: Event) -> str:
    """What an event says to people; empty for one that is nothing to read, such as a step's."""
    name, step = event.get("event"), event.get("step")
    if name in ("start", "resume"):
        begins = "starts" if name == "start" else f"goes on from step {step}"
        return f"{spec.run_id}: {begins}, {spec.steps} steps on {event.get('device')}"
    if name == "evaluation":
        return f"{spec.run_id}: step {step} of {spec.steps}, validation bpb {float(event.get('bpb', 0)):.4f}"
    if name in ("warning", "error"):
        return f"{spec.run_id}: {event.get('message')}"
    return f"{spec.run_id}: {event.get('status')} at step {step}" if name == "end" else ""


class Events:
    """Tells the lines of an event file as they come, each once: a run that goes on from a checkpoint cuts the file."""

    def __init__(self, path: AnyPath, tell: Callable[[Event], None], mirror: Path) -> None:
        self._path, self._tell = path, tell
        self._mirror = None if is_folder_path(path) else mirror
        self._told: list[bytes] = []

    def tell(self) -> None:
        """Tell what is new."""
        data = shared.read_or_none(self._path) or b""
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        same = next((n for n, (old, new) in enumerate(zip(self._told, lines, strict=False)) if old != new), None)
        first = min(len(self._told), len(lines)) if same is None else same
        if self._mirror is not None and self._mirror.parent.is_dir() and lines != self._told:
            replace_file(self._mirror, data)
        self._told = lines
        for line in lines[first:]:
            if isinstance(event := _parsed(line), dict):
                self._tell(event)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
