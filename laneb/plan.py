"""Every run that an experiment would train, before any is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from laneb.records.corpus import TokenShards
from laneb.records.experiment import Experiment
from laneb.training.checkout_knobs import customary_ratio
from laneb.training.spec import RunSpec, lane_spec

if TYPE_CHECKING:
    from laneb.settings import Settings

    Sections: TypeAlias = Settings | Experiment
    """What a plan reads: resolved settings, or those that an experiment stored."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of the lane: its role, how many seeds train it, and its spec (of the first seed)."""

    role: str
    seeds: tuple[int, ...]
    requested_ratio: float | None
    spec: RunSpec
    shared: int
    """How many of the seeds are trained for another role already: equal specs train once."""


def planned_runs(settings: Sections) -> list[PlannedRun]:
    """Baselines, calibration runs and the fallback; what candidates train at is known after the inference.

    Raises:
        ValueError: settings that no run can be made of.
    """
    baseline, calibration = settings.baseline, settings.calibration
    shards = _no_shards(settings)
    # A stored experiment names no place, and whoever plans by it asks for no machine's choices.
    elsewhere = not isinstance(settings, Experiment) and settings.locations.trained_elsewhere
    plans: list[PlannedRun] = []
    known: set[str] = set()

    def add(role: str, seeds: tuple[int, ...], *, steps: int = -1, ratio: float | None = None) -> None:
        first = lane_spec(
            shards,
            settings.model,
            settings.training,
            seed=seeds[0],
            steps=steps,
            ratio=ratio,
            origins=settings.origins,
            elsewhere=elsewhere,
        )
        specs = [first.model_copy(update={"seed": seed}) for seed in seeds]
        shared = sum(spec.fingerprint in known for spec in specs)
        known.update(spec.fingerprint for spec in specs)
        plans.append(PlannedRun(role, seeds, ratio if steps == -1 else None, first, shared))

    if baseline.source == "runs":
        add("baseline", baseline.seeds, steps=baseline.num_iterations, ratio=customary_ratio(settings))
    for steps in calibration.iterations:
        add("calibration", calibration.all_seeds, steps=steps)
    add("fallback", settings.candidates.run_seeds, ratio=customary_ratio(settings))
    return plans


def _no_shards(settings: Sections) -> TokenShards:
    """Stands in for shards that aren't made yet: only the vocabulary counts here."""
    return TokenShards(
        timestamp_utc="",
        dataset_id="",
        tokenizer_id="",
        corpus_fingerprint="",
        path="",
        train_documents=0,
        train_tokens=0,
        train_bytes=0,
        val_documents=0,
        val_tokens=0,
        val_bytes=0,
        vocab_size=settings.data.vocab_size,
        bos_id=0,
    )
