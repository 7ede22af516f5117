"""The run that each role of the lane wants under the stored settings, and whether the one that is there is it.

Dagster shows no staleness for partitioned assets, and a run that was trained on other settings must not pass for one of
today's: whoever reads the lane's runs reads them here, and the sensors and checks ask here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laneb.decision.candidates import Candidate, plan_candidates
from laneb.knobs import ModelKnobs, TrainingKnobs
from laneb.records.corpus import TokenShards
from laneb.storage import roles
from laneb.storage.atomic import StorageError
from laneb.storage.products import baseline_role, calibration_role
from laneb.training.checkout_knobs import customary_ratio
from laneb.training.run_directory import trained_spec
from laneb.training.spec import RunSpec, lane_spec

if TYPE_CHECKING:
    from laneb.places import Locations
    from laneb.records.candidates import Mode
    from laneb.records.experiment import Experiment
    from laneb.records.inference import Inference
    from laneb.records.runs import RunResult
    from laneb.storage.store import Store

RESOLVED_BY_HARDWARE = frozenset({"device", "dtype", "compile", "threads"})
"""Fields that a machine chooses where the knobs say "automatic": another machine's choice makes no run stale."""

SHOWN = 4
"""Knobs named of a stale run; a changed recipe can have dozens."""


@dataclass(frozen=True)
class Wanted:
    """A role, the partition that fills it, and the spec that it is to be trained by."""

    asset: str
    partition: str
    role: str
    spec: RunSpec


@dataclass(frozen=True)
class StaleRun:
    """A run that is there, but was trained by another spec than the one wanted now."""

    asset: str
    partition: str
    role: str
    changes: tuple[str, ...]
    """What differs, knob by knob: `training.matrix_lr 0.02, now 0.03`."""

    def __str__(self) -> str:
        more = f" and {len(self.changes) - SHOWN} more" if len(self.changes) > SHOWN else ""
        return f"{self.partition} ({'; '.join(self.changes[:SHOWN])}{more})"


class StaleRunsError(StorageError):
    """Runs that were trained by other settings than those that hold now."""


def wanted_spec(
    store: Store, experiment: Experiment, *, seed: int, steps: int = -1, ratio: float | None = None
) -> RunSpec:
    """The spec of a run of the experiment's model on its shards; with steps -1, for the horizon of a ratio."""
    return lane_spec(
        store.read(TokenShards),
        experiment.model,
        experiment.training,
        seed=seed,
        steps=steps,
        ratio=ratio,
        origins=experiment.origins,
        elsewhere=store.locations.trained_elsewhere,
    )


def wanted_baseline(store: Store, experiment: Experiment, seed: int) -> RunSpec:
    """The spec of a baseline."""
    baseline = experiment.baseline
    return wanted_spec(store, experiment, seed=seed, steps=baseline.num_iterations, ratio=customary_ratio(experiment))


def wanted_runs(store: Store, experiment: Experiment, asset: str) -> Iterator[Wanted]:
    """Every role of `baseline_runs` or `calibration_runs`, in order of partition.

    Raises:
        StorageError: the token shards aren't made yet.
    """
    if asset == "baseline_runs":
        for seed in experiment.baseline.seeds:
            spec = wanted_baseline(store, experiment, seed)
            yield Wanted(asset, str(seed), baseline_role(seed), spec)
    else:
        for steps in experiment.calibration.iterations:
            for seed in experiment.calibration.all_seeds:
                spec = wanted_spec(store, experiment, seed=seed, steps=steps)
                yield Wanted(asset, f"{steps}|{seed}", calibration_role(steps, seed), spec)


def stale_runs(store: Store, experiment: Experiment, asset: str) -> list[StaleRun]:
    """The runs of `baseline_runs` or `calibration_runs` that are there and are not what is wanted now."""
    found = []
    for wanted in wanted_runs(store, experiment, asset):
        if store.has_run(wanted.role):
            changes = changes_of(store.locations, store.read_run(wanted.role, asset), wanted.spec)
            if changes:
                found.append(StaleRun(asset, wanted.partition, wanted.role, changes))
    return found


def baseline_runs(store: Store, experiment: Experiment) -> list[RunResult]:
    """The result of every baseline seed; of imported results, of every seed that has a log.

    Raises:
        StorageError: one isn't there, is of other settings than hold now, or they are mixed.
    """
    if experiment.baseline.source == "runs":
        _refuse_stale(store, experiment, "baseline_runs")
    return roles.baseline_runs(store, experiment)


def calibration_runs(store: Store, experiment: Experiment) -> list[RunResult]:
    """The result of every calibration horizon and seed; raises as `baseline_runs`."""
    _refuse_stale(store, experiment, "calibration_runs")
    return roles.calibration_runs(store, experiment)


@dataclass(frozen=True)
class CandidateRuns:
    """The candidates that were trained for the inference as it stands, and what else lies in their roles."""

    runs: dict[tuple[Mode, int], RunResult]
    earlier: tuple[StaleRun, ...]
    missing: tuple[int, ...]
    """Run seeds of which a planned candidate has no run for this inference."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is wrong with the candidates that are there, and what is to be done."""
        lines = []
        if self.earlier:
            runs = "; ".join(f"{run.role} ({'; '.join(run.changes)})" for run in self.earlier)
            lines.append(f"candidates of an earlier inference or of other settings count in nothing: {runs}.")
        if self.missing:
            seeds = ", ".join(map(str, self.missing))
            lines.append(
                f"candidate_runs {seeds} have not run for this inference: materialize them (or run: laneb run)."
            )
        return tuple(lines)


def candidate_runs(store: Store, experiment: Experiment, inference: Inference) -> CandidateRuns:
    """The candidates of an inference: those that were asked for its ratios, at its threshold, by today's settings.

    A run of another ratio, threshold or recipe is of an earlier inference: it counts in no row, tally or verdict.
    """
    found = roles.candidate_runs(store, experiment)
    runs: dict[tuple[Mode, int], RunResult] = {}
    earlier, missing = [], []
    default_ratio = customary_ratio(experiment)
    for seed in experiment.candidates.run_seeds:
        for candidate in plan_candidates(inference, seed=seed, default_ratio=default_ratio):
            run = found.get((candidate.mode, seed))
            changes = () if run is None else _trained_for(store, experiment, inference, candidate, run)
            if run is not None and not changes:
                runs[candidate.mode, seed] = run
                continue
            missing.append(seed)
            if changes:
                earlier.append(StaleRun("candidate_runs", str(seed), candidate.run_id, changes))
    return CandidateRuns(runs, tuple(earlier), tuple(dict.fromkeys(missing)))


def _trained_for(
    store: Store, experiment: Experiment, inference: Inference, candidate: Candidate, run: RunResult
) -> tuple[str, ...]:
    """What tells a candidate's run from the one that the inference asks for."""
    made_for = run.made_for
    if made_for is None:
        return ("what it was trained for is not on record",)
    changes = []
    if made_for.requested_ratio != candidate.ratio:
        changes.append(f"{candidate.mode} ratio {_told_apart(made_for.requested_ratio, candidate.ratio, 4)}")
    if made_for.threshold != inference.target_metric_threshold:
        changes.append(f"threshold {_told_apart(made_for.threshold, inference.target_metric_threshold, 6)}")
    if changes:
        return tuple(changes)
    return changes_of(store.locations, run, wanted_spec(store, experiment, seed=candidate.seed, ratio=candidate.ratio))


def _told_apart(before: float, now: float, digits: int) -> str:
    """Two numbers with so many digits, or with as many as it takes to see that they differ."""
    while digits < 17 and f"{before:.{digits}g}" == f"{now:.{digits}g}":
        digits += 1
    return f"{before:.{digits}g}, now {now:.{digits}g}"


def _refuse_stale(store: Store, experiment: Experiment, asset: str) -> None:
    stale = stale_runs(store, experiment, asset)
    if stale:
        raise StaleRunsError(
            f"{asset} {', '.join(map(str, stale))}: trained by other settings than hold now. Materialize "
            f"{'it' if len(stale) == 1 else 'them'} again (or run: laneb run)."
        )


def changes_of(at: Locations, run: RunResult, wanted: RunSpec) -> tuple[str, ...]:
    """What of a run is not as wanted, knob by knob; empty where it is the wanted one."""
    if run.fingerprint == wanted.fingerprint:
        return ()
    trained = trained_spec(at.runs_dir, run)
    if trained is None:
        return ("by a spec that is no longer there",)
    ignored = RunSpec.places | RESOLVED_BY_HARDWARE
    differing = [
        name for name in RunSpec.model_fields if name not in ignored and getattr(trained, name) != getattr(wanted, name)
    ]
    return tuple(_change(name, getattr(trained, name), getattr(wanted, name)) for name in differing)


_IN_WORDS = {
    "steps": "horizon",
    "corpus_fingerprint": "the corpus",
    "tokenizer_id": "the tokenizer",
    "nanochat_code": "the checkout's code",
    "surface": "the loss surface",
    "arithmetic": "how runs are computed",
}


def _change(name: str, before: Any, now: Any) -> str:
    if name in ("steps", "seed"):
        return f"{_IN_WORDS.get(name, name)} {before:,}, now {now:,}"
    if name in _IN_WORDS:
        return f"{_IN_WORDS[name]} has changed"
    section = next((each.title for each in (ModelKnobs, TrainingKnobs) if name in each.model_fields), "")
    return f"{section}.{name} {before}, now {now}" if section else f"{name} {before}, now {now}"
