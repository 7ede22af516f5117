"""Which run of how many a lane is at, and about how long it still takes."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from laneb.places import AnyPath
from laneb.plan import planned_runs
from laneb.report.answer import duration
from laneb.settings import Settings
from laneb.training.progress import Progress
from laneb.training.run_directory import RESULT

CANDIDATES_PER_SEED = 2


@dataclass(frozen=True)
class LaneProgress:
    """The runs of a lane before they are trained.

    Attributes:
        known: steps of baselines and calibration runs, by run.
        candidates: how many are to come.
        candidate_steps: of each, before the inference says it: as many as a run at the default ratio has.
        side_by_side: runs that train at once.
        inference: the file that asks for the candidates.
    """

    known: Mapping[str, int]
    candidates: int
    candidate_steps: int
    side_by_side: int = 1
    inference: AnyPath | None = None

    @classmethod
    def of(cls, settings: Settings) -> "LaneProgress":
        """The runs that settings ask for."""
        plans = planned_runs(settings)
        known = {
            plan.spec.model_copy(update={"seed": seed}).run_id: plan.spec.steps
            for plan in plans
            if plan.role != "fallback"
            for seed in plan.seeds
        }
        count = CANDIDATES_PER_SEED * len(settings.candidates.run_seeds)
        return cls(known, count, plans[-1].spec.steps, settings.engine.parallel_runs, settings.locations.infer_json)

    def finished(self, runs_dir: Path) -> set[str]:
        """The lane's runs that have a result.

        Runs of earlier settings lie beside them: one that is no baseline and no calibration run is a candidate of now
        if it ended after the inference, which comes after all of those.
        """
        # A run of another fingerprint or an earlier attempt, set aside, has it behind the name.
        ended = {path.parent.name: path for path in runs_dir.glob(f"*/{RESULT}") if "." not in path.parent.name}
        own = ended.keys() & self.known.keys()
        if self.inference is None or len(own) < len(self.known):
            return own
        with contextlib.suppress(OSError):
            asked = self.inference.stat().st_mtime
            own |= {name for name, path in ended.items() if path.stat().st_mtime >= asked}
        return own

    def place(self, finished: Collection[str]) -> str:
        """`4 of 13`: the run after those that are finished. Candidates may be fewer, where one is a run that was."""
        total = len(self.known) + self.candidates
        return f"{min(len(finished) + 1, total)} of {total}"

    def seconds_left(self, run: str, progress: Progress, finished: Collection[str]) -> float | None:
        """About how long the lane still trains, at the pace of the run that trains now; None before it has one."""
        if progress.eta_sec is None or progress.steps is None or progress.step >= progress.steps:
            return None
        pace = progress.eta_sec / (progress.steps - progress.step)
        to_come = sum(steps for name, steps in self.known.items() if name != run and name not in finished)
        tried = sum(name not in self.known for name in {*finished, run})
        to_come += max(0, self.candidates - tried) * self.candidate_steps
        return progress.eta_sec + pace * to_come / self.side_by_side

    def note(self, run: str, progress: Progress, finished: Collection[str]) -> str:
        """What stands behind a progress bar: first what a narrow window must not cut off."""
        left = self.seconds_left(run, progress, finished)
        lane = "" if left is None else f"; lane: about {duration(left)} left"
        return f"run {self.place(finished)}{lane}; {progress.sentence()}"
