"""A run of some seconds on any engine, held against one that nothing disturbed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from run_facts import facts, lines, losses
from small_runs import Runs

from laneb.engines import Work, train
from laneb.knobs import EngineKnobs, TrainingKnobs
from laneb.places import AnyPath, is_folder_path
from laneb.records.runs import RunResult
from laneb.training.spec import RunSpec

STEPS = 400


@dataclass(frozen=True)
class Undisturbed:
    """The run, as a process of its own trained it, and its shards."""

    runs: Runs
    spec: RunSpec
    result: RunResult

    def work(self, place: AnyPath, mirror: Path, training: TrainingKnobs | None = None, **engine: object) -> Work:
        """The same run, to be trained in the directory `place / runs`."""
        knobs = EngineKnobs(**{"lease_seconds": 2.4, "scratch": str(mirror / "scratch"), **engine})
        run = place / "runs" / self.spec.run_id
        local = run if is_folder_path(run) else mirror / "runs" / self.spec.run_id
        return Work(self.spec, run, local, training or TrainingKnobs(), knobs)

    def is_equalled_by(self, result: RunResult, run_dir: Path) -> None:
        """Bit for bit, updates and evaluations, whatever happened in between."""
        assert facts(result) == facts(self.result)
        assert losses(run_dir) == losses(self.runs.folder / self.spec.run_id)

    def is_near(self, result: RunResult, run_dir: Path) -> None:
        """Two processes add up gradients in another order than one."""
        for ours, theirs in zip(result.val_curve, self.result.val_curve, strict=True):
            assert ours.step == theirs.step and ours.bpb == pytest.approx(theirs.bpb, rel=2e-3)
        assert "2 process(es)" in lines(run_dir, "Device:")[0]


def processes_of(work: Work) -> list[psutil.Process]:
    """What the node at work on a run started, and the node's own process, last."""
    for process in psutil.process_iter(["cmdline"]):
        if {str(work.run), "laneb.engines.node"} <= set(process.info["cmdline"] or ()):
            return [*process.children(recursive=True), process]
    raise AssertionError("no node is at work on the run")


def told_at_once(
    stories: Sequence[Callable[..., None]],
    threads: Executor,
    undisturbed: Undisturbed,
    cluster: object,
    folders: pytest.TempPathFactory,
) -> Iterator[dict[object, "Future[None]"]]:
    """Stories of a cluster side by side, since most of each is the cluster's waiting; each in a folder of its own."""
    with threads:
        yield {story: threads.submit(story, undisturbed, cluster, folders.mktemp("story")) for story in stories}


@dataclass
class Story:
    """What a coordinator was told, and what a test does at a step."""

    at_step: int = 0
    act: Callable[[], object] = lambda: None
    said: list[str] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)
    acted: bool = False

    def event(self, event: dict[str, object]) -> None:
        self.events.append(event)
        if self.at_step and not self.acted and int(str(event.get("step", 0))) >= self.at_step:
            self.acted = True
            self.act()

    def train(self, work: Work) -> RunResult:
        return train(work, on_event=self.event, say=self.said.append)

    def resumed_from(self) -> list[int]:
        return [int(str(event["step"])) for event in self.events if event["event"] == "resume"]
