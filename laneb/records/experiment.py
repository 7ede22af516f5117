"""The settings that an experiment's assets work with, as `experiment` stored them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from laneb import knobs
from laneb.records.base import Record, canonical_hash, utc_now

if TYPE_CHECKING:
    from laneb.settings import Settings


class Experiment(Record):
    """experiment.json: every outcome-relevant knob, the origin of each, and the overrides."""

    timestamp_utc: str
    experiment: str
    profile: str
    description: str
    data: knobs.DataKnobs
    model: knobs.ModelKnobs
    training: knobs.TrainingKnobs
    baseline: knobs.BaselineKnobs
    threshold: knobs.ThresholdKnobs
    calibration: knobs.CalibrationKnobs
    statistics: knobs.StatisticsKnobs
    inference: knobs.InferenceKnobs
    candidates: knobs.CandidateKnobs
    origins: dict[str, str]
    overrides: dict[str, Any]

    @classmethod
    def of(cls, settings: Settings) -> Experiment:
        """The record of resolved settings."""
        sections = {section.title: settings.section(section.title) for section in knobs.EXPERIMENT_SECTIONS}
        return cls(
            timestamp_utc=utc_now(),
            experiment=settings.experiment,
            profile=settings.profile,
            description=settings.description,
            origins=dict(settings.origins),
            overrides=dict(settings.overrides),
            **sections,
        )

    def section_hash(self, title: str) -> str:
        """Identity of one section's values."""
        return canonical_hash(getattr(self, title).model_dump(mode="json"))
