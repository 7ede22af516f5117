"""A disk that fills up, at each stage of a lane: a sentence says where, and with room made the lane ends as any other.

A file system of a size of its own is mounted over one place of a lane, or over all of them, and `laneb run` begins with
hardly any room there. Each time it fails the place is given a little more, until the lane is finished. Right is a
failure that says in a sentence which place has no room, and in the end the losses, threshold and verdict of a lane that
had room from the beginning.

Run: python benchmarks/full_disk.py [--only WORD]     (Linux; makes a mount namespace, as root or where a user may)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / room) for room in ("assets", "helpers", "training"))]

from forked_laneb import Done, import_verbs, laneb  # noqa: E402
from full_disk import NAMESPACE, Disk, answer_of, fill_up, mounting_fails  # noqa: E402

KIB = 1 << 10


@dataclass(frozen=True)
class Stage:
    """What has no room, in which lane, from how little on."""

    name: str
    profile: str
    place: str
    """Below the lane's folder."""
    free: int = 4 * KIB
    step: float = 2.0
    """Each time there is so many times as much room added."""


STAGES = (
    Stage("token shards", "simulated", "data/laneb/corpus"),
    Stage("runs: logs, events", "simulated", "data/laneb/simulated/runs"),
    Stage("runs: checkpoints", "micro", "data/laneb/micro/runs", free=64 * KIB),
    Stage("results, records, report", "simulated", "data/laneb/simulated"),
    Stage("logs", "simulated", "data/laneb/simulated/logs"),
    Stage("DuckDB", "simulated", "duckdb"),
    Stage("Dagster's SQLite", "simulated", "home", free=16 * KIB),
    Stage("temporary files", "simulated", "tmp"),
    Stage("all on one disk", "simulated", "data", free=64 * KIB, step=1.5),
    Stage("all on one disk, trained", "micro", "data", free=512 * KIB, step=1.5),
)


@dataclass
class Lane:
    """A lane in a folder, as nothing was run of it yet, and the answer that it gives undisturbed."""

    folder: Path
    profile: str
    expected: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("duckdb", "home", "tmp"):
            (self.folder / name).mkdir()
        write_corpus(self.folder / "corpus")
        text = (ROOT / "tests" / f"{self.profile}.toml").read_text()
        text = text.replace("[data]", f'[data]\ncorpus = "{self.folder / "corpus"}"')
        (self.folder / f"{self.profile}.toml").write_text(
            f'{text}\n[places]\nbase_dir = "{self.folder / "data"}"\n'
            f'duckdb_path = "{self.folder / "duckdb" / "lane_b.duckdb"}"\n'
        )
        shutil.copy(ROOT / "tests" / "surface.toml", self.folder)
        shutil.copy(ROOT / "dagster.yaml", self.folder / "home")
        shutil.copytree(self.folder, self.kept)
        run = laneb(["run"], self.environment)
        if run.status:
            raise SystemExit(f"the lane itself failed: {run.errors}")
        self.expected = self.answer()

    @property
    def kept(self) -> Path:
        return self.folder.with_name(f"{self.profile}.kept")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LANE_B_")}
        places = {"DAGSTER_HOME": self.folder / "home", "LANE_B_PROFILE": self.folder / f"{self.profile}.toml",
                  "TMPDIR": self.folder / "tmp"}  # fmt: skip
        return kept | {name: str(place) for name, place in places.items()} | {"NO_COLOR": "1"}

    def answer(self) -> dict[str, object]:
        """What it says."""
        return answer_of(self.folder / f"{self.profile}.toml", timed=self.profile == "micro")

    def put_back(self) -> None:
        """As nothing was run of it."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)


def write_corpus(folder: Path) -> None:
    """Prose-like text: sentences of a few words that follow each other unevenly."""
    folder.mkdir()
    draw = random.Random(7)
    words = ["the", "loss", "of", "a", "model", "falls", "with", "tokens", "and", "then", "rises", "slowly", "again"]
    for number in range(60):
        sentences = [" ".join(draw.choice(words) for _ in range(draw.randint(4, 12))) for _ in range(40)]
        (folder / f"{number:03d}.txt").write_text(". ".join(sentences).capitalize() + f". {number}\n")


def tried(lane: Lane, stage: Stage) -> tuple[list[Done], list[str]]:
    """The failures of a lane with hardly any room at a stage, and what was wrong with them or with its answer."""
    lane.put_back()
    disk = Disk(lane.folder / stage.place, stage.free)
    try:
        trial = fill_up(lane.environment, disk, times=stage.step)
        wrong = list(trial.complaints)
        if not trial.finished:
            wrong.append("never finished")
        elif lane.answer() != lane.expected:
            answer = lane.answer()
            wrong.append(
                f"another answer: {sorted(key for key in lane.expected if answer.get(key) != lane.expected[key])}"
            )
        if not trial.failures:
            wrong.append("was never short of room")
        return list(trial.failures), wrong
    finally:
        disk.take_away()


def main() -> None:
    """Print a row a stage; exit 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="stages whose name has this word")
    parser.add_argument("--say", action="store_true", help="print every sentence too")
    options = parser.parse_args()
    if why := mounting_fails():
        print(f"not tried: no disk can be mounted here: {why}")
        return
    if "LANEB_NAMESPACE" not in os.environ:
        os.environ["LANEB_NAMESPACE"] = "1"
        os.execvp(NAMESPACE[0], [*NAMESPACE, sys.executable, *sys.argv])
    import_verbs(["run", "summary"])
    failed = False
    print(f"{'no room for':28} {'failures':>8} {'sentences':>9} {'wrong':>5} {'seconds':>7}")
    with tempfile.TemporaryDirectory(prefix="laneb_full_") as place:
        lanes: dict[str, Lane] = {}
        for stage in STAGES:
            if options.only not in stage.name:
                continue
            lane = lanes.get(stage.profile) or Lane(Path(place) / stage.profile, stage.profile)
            lanes[stage.profile] = lane
            began = time.monotonic()
            failures, wrong = tried(lane, stage)
            different = list(dict.fromkeys(run.errors.partition("\n")[0] for run in failures))
            seconds = time.monotonic() - began
            print(f"{stage.name:28} {len(failures):8} {len(different):9} {len(wrong):5} {seconds:7.0f}", flush=True)
            for line in different if options.say else ():
                print("   ", line.replace(str(lane.folder), "L"))
            for line in wrong:
                print("  wrong:", line.replace(str(lane.folder), "L"))
            failed |= bool(wrong)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
