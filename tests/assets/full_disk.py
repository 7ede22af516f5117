"""A lane where a disk fills up: what it says, and that it goes on once there is room.

Disks are tmpfs of a stated size, mounted over one place of a lane. The mounts are seen by this process and its children
alone and go with it, so whoever may make a user namespace needs no root for it:

    unshare --user --map-root-user --mount python full_disk.py FOLDER   (what a test does)

Each `laneb run` is a fork of a process that has imported everything, so that it begins at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forked_laneb import Done, import_verbs, laneb

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def mounting_fails() -> str:
    """Why this machine lets nobody mount a disk of his own; empty where it does."""
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stderr.strip()
    except FileNotFoundError as error:
        return str(error)


@dataclass
class Disk:
    """A file system of a size of its own at a place, with a copy of what was there."""

    place: Path
    free: int
    """Bytes that can be written to it at first."""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        aside = self.place.with_name(self.place.name + ".aside")
        self.place.rename(aside)
        self.place.mkdir()
        self._mount("size=8G")
        shutil.copytree(aside, self.place, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(aside)
        status = os.statvfs(self.place)
        self.size = (status.f_blocks - status.f_bfree) * status.f_frsize
        self.grow(self.free)

    def grow(self, more: int) -> None:
        """Give it more room [bytes]."""
        self.size += more
        self._mount(f"remount,size={self.size}")

    def left(self) -> int:
        """Bytes that can still be written."""
        status = os.statvfs(self.place)
        return status.f_bavail * status.f_frsize

    def take_away(self) -> None:
        """Unmount it, with all that lies there."""
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)], check=True)


def complaint(done: Done, places: list[Path]) -> str:
    """What is wrong with how a run failed: it has to name the place and the lack of room, in a line or two."""
    lines = done.errors.splitlines()
    if done.status not in (1, 2):
        return f"ended with status {done.status}: {done.errors[-400:]}"
    if not 1 <= len(lines) <= 2 or not lines[0].startswith("laneb: ") or "Traceback" in done.errors:
        return f"no sentence: {done.errors[-600:]}"
    if not any(str(place) in lines[0] for place in places):
        return f"names no place: {lines[0][:400]}"
    if not any(word in lines[0].lower() for word in ("no space", "no room", "too large")):
        return f"does not say that there is no room: {lines[0][:400]}"
    return ""


@dataclass(frozen=True)
class Trial:
    """What became of a lane whose disk filled up."""

    failures: tuple[Done, ...]
    """The runs that found no room, in their order."""
    complaints: tuple[str, ...]
    """What is wrong with them."""
    finished: bool


def fill_up(environment: Mapping[str, str], disk: Disk, *, times: float, tries: int = 25) -> Trial:
    """Run a lane on a disk without room, and give it `times` the room each time that it fails, until it is finished."""
    room, failures, complaints = disk.free, [], []
    for _ in range(tries):
        run = laneb(["run"], environment)
        if run.status == 0:
            return Trial(tuple(failures), tuple(complaints), finished=True)
        failures.append(run)
        if wrong := complaint(run, [disk.place]):
            complaints.append(f"{room:,} bytes: {wrong}")
        disk.grow(int(room * (times - 1)))
        room = int(room * times)
    return Trial(tuple(failures), tuple(complaints), finished=False)


def answer_of(profile: Path, *, timed: bool) -> dict[str, object]:
    """What a lane says. Trained runs take another time each time, and what follows of that is left out if `timed`."""
    from run_facts import facts

    from laneb.records.baseline import BaselineThreshold
    from laneb.records.inference import Inference
    from laneb.settings import load_settings
    from laneb.storage.products import PRODUCTS
    from laneb.storage.store import Store
    from laneb.training.run_directory import SPEC, read_result, read_spec

    at = load_settings(str(profile)).locations
    store = Store(at)
    said: dict[str, object] = {"threshold": store.read(BaselineThreshold).recommended_target_threshold}
    said["ratio"] = store.read(Inference).inferred_target_param_data_ratio
    for run_dir in sorted(path.parent for path in at.runs_dir.glob(f"*/{SPEC}")):
        result = read_result(run_dir, read_spec(run_dir / SPEC))
        said[run_dir.name] = facts(result) if result is not None else None
    if not timed:
        for product in PRODUCTS.values():
            if product.record is not None:
                lines = store.path(product.record).read_text().splitlines()
                said[product.record.__name__] = [
                    line for line in lines if "timestamp_utc" not in line and '"checksum"' not in line
                ]
    return said


if __name__ == "__main__":
    # FOLDER PROFILE PLACE FREE TIMES: what became of a lane there, as JSON.
    folder, profile, place, free, times = sys.argv[1:]
    import_verbs(["run", "summary"])
    found = fill_up(dict(os.environ), Disk(Path(folder) / place, int(free)), times=float(times))
    said = {"complaints": found.complaints, "finished": found.finished}
    said["sentences"] = [run.errors.partition("\n")[0] for run in found.failures]
    said["answer"] = answer_of(Path(profile), timed=False) if found.finished else None
    print(json.dumps(said))
