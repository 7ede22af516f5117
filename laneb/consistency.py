"""Knobs that contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from laneb import knobs


class Resolved(Protocol):
    """Settings as far as knobs are compared: the sections, and where each value came from."""

    @property
    def model(self) -> knobs.ModelKnobs: ...
    @property
    def training(self) -> knobs.TrainingKnobs: ...
    @property
    def baseline(self) -> knobs.BaselineKnobs: ...
    @property
    def threshold(self) -> knobs.ThresholdKnobs: ...
    @property
    def calibration(self) -> knobs.CalibrationKnobs: ...
    @property
    def statistics(self) -> knobs.StatisticsKnobs: ...
    @property
    def inference(self) -> knobs.InferenceKnobs: ...
    @property
    def candidates(self) -> knobs.CandidateKnobs: ...
    @property
    def origins(self) -> Mapping[str, str]: ...
    def section(self, title: str) -> knobs.Section: ...


def contradictions(settings: Resolved) -> list[str]:
    """A line for each pair of knobs that can't both hold, naming both values and where they came from."""
    return [
        *_of_model_and_batch(settings),
        *_of_windows(settings),
        *_of_runs(settings),
        *_of_exponent(settings),
        *_of_backend(settings),
    ]


def _say(settings: Resolved, *keys: str) -> str:
    parts = []
    for key in keys:
        section, name = key.split(".")
        value = getattr(settings.section(section), name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        parts.append(f"{key}={text} ({settings.origins.get(key, 'default')})")
    return " and ".join(parts)


def _of_model_and_batch(settings: Resolved) -> list[str]:
    model, training = settings.model, settings.training
    problems = []
    heads = -(-model.depth * model.aspect_ratio // model.head_dim)
    if model.n_kv_head == 0 or (model.n_kv_head > 0 and heads % model.n_kv_head):
        problems.append(
            f"{_say(settings, 'model.n_kv_head')}: must divide the {heads} heads of this shape; -1 means as many."
        )
    rows = training.device_batch_size * model.max_seq_len
    if training.total_batch_size != -1 and training.total_batch_size % rows:
        problems.append(
            f"{_say(settings, 'training.total_batch_size')}: must be a multiple of device_batch_size * max_seq_len = "
            f"{training.device_batch_size} * {model.max_seq_len} = {rows}, such as "
            f"{rows * max(1, training.total_batch_size // rows)}."
        )
    if training.warmup_steps not in (None, -1) and training.warmup_ratio:
        problems.append(
            f"{_say(settings, 'training.warmup_steps', 'training.warmup_ratio')}: two lengths of one warmup. Set one."
        )
    if (training.warmup_ratio or 0.0) + (training.warmdown_ratio or 0.0) > 1:
        problems.append(f"{_say(settings, 'training.warmup_ratio', 'training.warmdown_ratio')}: together at most 1.")
    return problems


def _of_windows(settings: Resolved) -> list[str]:
    problems = []
    for low, high in (
        ("statistics.corr_min_sep", "statistics.corr_max_sep"),
        ("statistics.ent_min_ctx", "statistics.ent_max_ctx"),
        ("inference.alpha_min", "inference.alpha_max"),
        ("inference.baseline_alpha_grid_min", "inference.baseline_alpha_grid_max"),
    ):
        if _value(settings, low) >= _value(settings, high):
            problems.append(f"{_say(settings, low, high)}: the first must be below the second.")
    if settings.statistics.ent_min_usable_points > settings.statistics.ent_num_points:
        problems.append(
            f"{_say(settings, 'statistics.ent_min_usable_points', 'statistics.ent_num_points')}: "
            "more points are needed than asked for."
        )
    candidates = settings.candidates
    if candidates.time_to_target_power_law_min_points > candidates.time_to_target_power_law_max_points:
        problems.append(
            _say(
                settings,
                "candidates.time_to_target_power_law_min_points",
                "candidates.time_to_target_power_law_max_points",
            )
            + ": the first may not exceed the second."
        )
    return problems


def _of_runs(settings: Resolved) -> list[str]:
    problems = []
    for key in ("baseline.seeds", "calibration.iterations", "calibration.seeds", "candidates.run_seeds"):
        values = _value(settings, key)
        if values is None:
            continue
        if not values or len(set(values)) != len(values):
            problems.append(f"{_say(settings, key)}: at least one value, and none twice.")
    if len(settings.calibration.iterations) < 2:
        problems.append(f"{_say(settings, 'calibration.iterations')}: a loss curve needs at least two horizons.")
    if settings.baseline.num_iterations != -1 and settings.baseline.num_iterations < 1:
        problems.append(f"{_say(settings, 'baseline.num_iterations')}: at least 1 step, or -1 for the default ratio.")
    if settings.baseline.source == "runs" and settings.threshold.min_success > len(settings.baseline.seeds):
        problems.append(
            f"{_say(settings, 'threshold.min_success', 'baseline.seeds')}: more good runs are needed than are trained."
        )
    return problems


def _of_exponent(settings: Resolved) -> list[str]:
    inference = settings.inference
    problems = []
    if inference.alpha_override is not None and inference.alpha_override <= 0:
        problems.append(f"{_say(settings, 'inference.alpha_override')}: an exponent is above 0.")
    if inference.paper_mapping_id == "weighted_mean_v1" and inference.corr_weight + inference.entropy_weight <= 0:
        problems.append(
            f"{_say(settings, 'inference.corr_weight', 'inference.entropy_weight')}: one must be above 0 for "
            "weighted_mean_v1."
        )
    return problems


def _of_backend(settings: Resolved) -> list[str]:
    if settings.training.backend == "nanochat" and not settings.training.nanochat_dir:
        return [
            f"{_say(settings, 'training.backend')}: needs the checkout's path; set training.nanochat_dir "
            "(LANE_B_NANOCHAT_DIR)."
        ]
    if settings.training.backend != "nanochat" and settings.training.checkout_flags:
        return [f"{_say(settings, 'training.checkout_flags', 'training.backend')}: only a checkout takes flags."]
    return []


def _value(settings: Resolved, key: str) -> Any:
    section, name = key.split(".")
    return getattr(settings.section(section), name)
